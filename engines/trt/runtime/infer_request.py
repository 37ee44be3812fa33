"""A batch in flight, from its submission to its outputs."""

from __future__ import annotations

from threading import Lock
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.buffers import BufferLayout, BufferSet
from pssdet.engines.trt.runtime.cuda import CudaFailure

Outputs = dict[str, NDArray[Any]]


@final
class InferRequest:
    """A submitted batch, to be handed to ``collect`` of the session that took it."""

    def __init__(self, session: object, number: int, buffers: BufferSet, outputs: BufferLayout) -> None:
        self.session = session
        self.number = number
        self.collected = False
        self._lock = Lock()
        self._buffers: BufferSet | None = buffers
        self._layout = outputs
        self._outputs: Outputs = {}
        self._error: CudaFailure | None = None

    @property
    def done(self) -> bool:
        """Whether its buffers are free again."""
        return self._buffers is None

    @property
    def failed(self) -> bool:
        """Whether CUDA failed, so that its work may still be in flight."""
        return self._error is not None

    def finish(self) -> None:
        """Wait until its outputs are on the host and copy them; any thread may call this, the first does the work."""
        with self._lock:
            if self._buffers is None:
                return
            try:
                self._buffers.downloaded.synchronize()
                memory = self._buffers.outputs.host.bytes
                self._outputs = {name: _copied(slot.view(memory)) for name, slot in self._layout.slots.items()}
            except CudaFailure as error:
                self._error = error
            self._buffers = None

    def take(self) -> Outputs:
        """The outputs, which can be taken once; raises the error if CUDA failed."""
        with self._lock:
            if self.collected:
                raise ValueError("this batch was collected before")
            self.collected = True
            if self._error is not None:
                raise self._error
            outputs, self._outputs = self._outputs, {}
            return outputs


def _copied(values: NDArray[Any]) -> NDArray[Any]:
    """A copy; half precision becomes float32."""
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)
