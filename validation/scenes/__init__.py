"""Rendered scenes: a COCO data set on any machine."""
