"""Where the original programs' large arrays were sampled."""

import zlib

import numpy as np


def sample_positions(name, seed, size, count):
    """Flat positions of the stored values of the array ``name``; small arrays were stored whole."""
    if size <= count:
        return np.arange(size)
    generator = np.random.RandomState((seed + zlib.crc32(name.encode())) & 0xFFFFFFFF)
    return generator.randint(0, size, count)
