"""AdamW on one flat vector of all parameters, and the learning rate's schedule.

One vector makes it simple to average gradients between processes and to save and resume a run:
Paddle's optimisers name their state after counters that differ from process to process.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

Floats = NDArray[np.float32]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class FlatParameters:
    """The trainable parameters of a model as one float32 vector, in the model's order."""

    def __init__(self, model: nn.Layer) -> None:
        self._tensors = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
        self._sizes = [math.prod(tensor.shape) for tensor in self._tensors]
        self.size = sum(self._sizes)
        #: Weights decay, biases and the scales of normalisation (vectors) do not.
        self.decays = self._join([np.full(tensor.shape, len(tensor.shape) > 1) for tensor in self._tensors])

    def values(self) -> Floats:
        """The parameters."""
        return self._join([tensor.numpy() for tensor in self._tensors])

    def take_gradients(self) -> Floats:
        """The gradients, zero where there are none, which are cleared."""
        gradients = [
            np.zeros(tensor.shape, np.float32) if tensor.grad is None else tensor.grad.numpy()
            for tensor in self._tensors
        ]
        for tensor in self._tensors:
            tensor.clear_gradient(set_to_zero=False)
        return self._join(gradients)

    def assign(self, values: Floats) -> None:
        """Set the parameters."""
        parts = np.split(values, np.cumsum(self._sizes)[:-1])
        with paddle.no_grad():
            for tensor, part in zip(self._tensors, parts, strict=True):
                tensor.set_value(part.reshape(tensor.shape))

    @staticmethod
    def _join(arrays: list[NDArray[np.generic]]) -> Floats:
        return np.concatenate([array.ravel() for array in arrays], dtype=np.float32, casting="unsafe")


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2).

    Args:
        size: of the vectors.
        decay: weight decay, times the learning rate.
        limit: gradients longer than this are shortened to it.

    Attributes:
        moments: float32 [2, size], the running mean of gradients and of their squares.
    """

    def __init__(self, size: int, decay: float, limit: float) -> None:
        self._decay, self._limit = decay, limit
        self.moments = np.zeros((2, size), np.float32)

    def update(self, values: Floats, gradient: Floats, decays: Floats, step: int, rate: float) -> Floats:
        """New parameter values for the gradient of step ``step`` (the first is 0)."""
        length = float(np.sqrt(np.square(gradient, dtype=np.float64).sum()))
        gradient = gradient * np.float32(min(1.0, self._limit / max(length, 1e-12)))
        mean, square = self.moments
        mean += np.float32(1 - _BETA1) * (gradient - mean)
        square += np.float32(1 - _BETA2) * (gradient * gradient - square)
        correction = math.sqrt(1 - _BETA2 ** (step + 1)) / (1 - _BETA1 ** (step + 1))
        move = np.float32(correction) * mean / (np.sqrt(square) + np.float32(_EPSILON))
        return np.asarray(
            values - np.float32(rate) * (move + np.float32(self._decay) * decays * values), np.float32
        )


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear to ``peak`` over the warm-up, then half a cosine to a hundredth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    part = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
