"""Detection in pictures: preprocessing, batches, the engine, and what becomes of its detections."""
