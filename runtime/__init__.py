"""Pictures to detections: an engine with everything before and behind it."""
