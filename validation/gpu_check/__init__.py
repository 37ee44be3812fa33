"""What a GPU does with this project: checks in processes of their own."""
