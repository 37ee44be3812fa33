"""Batches for an engine of ``fake_tensorrt``, and what must come of them."""

import numpy as np
from fake_tensorrt import expected

SHAPES = [(1, 8, 8), (2, 8, 8), (1, 4, 16), (4, 16, 16)]


def batch(seed=0, pictures=1, height=8, width=8):
    random = np.random.default_rng(seed)
    return {
        "image": random.normal(size=(pictures, 3, height, width)).astype(np.float32),
        "image_size": random.integers(1, 99, (pictures, 2)).astype(np.float32),
        "scale_factor": np.ones((pictures, 2), np.float32),
    }


def check(outputs, inputs):
    wanted = expected(inputs)
    assert outputs.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(outputs[name], values)
        assert outputs[name].dtype == values.dtype
