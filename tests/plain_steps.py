"""A picture's preparation as the original programs do it, one step after the other on whole float32 arrays."""

import cv2
import numpy as np

from pssdet.models.preprocess import network_sizes, resize_scale

_METHODS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def plain_content(picture, steps):
    """Resized and normalised in their order, float32 [h, w, 3]."""
    scale = resize_scale(*picture.shape[:2], steps)

    def resize(pixels):
        return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=_METHODS[steps.interpolation])

    def normalise(pixels):
        return (pixels.astype(np.float32) / np.float32(255) - np.float32(steps.mean)) / np.float32(steps.std)

    return normalise(resize(picture)) if steps.resize == "first" else resize(normalise(picture))


def plain_input(picture, steps):
    """The network's input, float32 [1, 3, H, W]: also transposed, padded and made a batch."""
    content = plain_content(picture, steps)
    height, width = content.shape[:2]
    padded = np.zeros((3, *network_sizes((height, width), 1.0, steps.stride)[1]), np.float32)
    padded[:, :height, :width] = content.transpose(2, 0, 1)
    return np.stack([padded])
