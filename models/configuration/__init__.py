"""A detector as a user's own PaddleDetection configuration describes it: ``zoo_entry``."""
