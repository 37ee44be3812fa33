"""A batch of a session, from its start to its outputs."""

from __future__ import annotations

from threading import Lock
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.buffers import BufferSet, Layout
from pssdet.engines.trt.runtime.cuda import CudaFailure

Tensors = dict[str, NDArray[Any]]


@final
class Ticket:
    """A batch on its way, to be handed to ``collect`` of the session that gave it."""

    def __init__(self, session: object, number: int, buffers: BufferSet, outputs: Layout) -> None:
        self.session = session
        self.number = number
        self.collected = False
        self._lock = Lock()
        self._buffers: BufferSet | None = buffers
        self._layout = outputs
        self._outputs: Tensors = {}
        self._error: CudaFailure | None = None

    @property
    def done(self) -> bool:
        """Whether its buffers are free again."""
        return self._buffers is None

    @property
    def failed(self) -> bool:
        """Whether an error came instead of outputs, so that its work may still be on its way."""
        return self._error is not None

    def finish(self) -> None:
        """Wait until its outputs are on the host and copy them; any thread may, and the first does."""
        with self._lock:
            if self._buffers is None:
                return
            try:
                self._buffers.downloaded.synchronize()
                memory = self._buffers.outputs.host.bytes
                self._outputs = {name: _own(place.view(memory)) for name, place in self._layout.places.items()}
            except CudaFailure as error:
                self._error = error
            self._buffers = None

    def take(self) -> Tensors:
        """The outputs, once, or the error that came instead."""
        with self._lock:
            if self.collected:
                raise ValueError("this batch was collected before")
            self.collected = True
            if self._error is not None:
                raise self._error
            outputs, self._outputs = self._outputs, {}
            return outputs


def _own(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)
