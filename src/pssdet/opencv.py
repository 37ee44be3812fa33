"""OpenCV with a limit on the size of pictures, which it reads from the environment as it loads."""

from __future__ import annotations

import os

#: A small file can unfold to gigabytes, and preparing a picture takes up to 36 bytes per pixel.
MAX_PIXELS = 200_000_000

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402

__all__ = ["MAX_PIXELS", "cv2"]
