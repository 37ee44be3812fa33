"""What a GPU does with this project: checks in processes of their own, which need NumPy, ONNX and cuda-bindings."""
