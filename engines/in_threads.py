"""Any session as a pipelined one: its batches run in threads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import Session, Tensors


class InThreads:
    """A ``Pipelined`` session that runs another's batches in threads, by default one after the other.

    Attributes:
        depth: batches on their way at once: one more than the streams, so that none of them waits.

    Args:
        session: must be safe for as many threads as there are ``streams``.
        streams: batches that are computed at once.
        batch: see ``Pipelined``.
    """

    def __init__(self, session: Session, streams: int = 1, batch: int = 1) -> None:
        self._session = session
        self._threads = ThreadPoolExecutor(streams, "inference")
        self._closing = Lock()
        self._closed = False
        self.depth = streams + 1
        self.batch = batch

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Mapping[str, NDArray[np.float32]]) -> Future[Tensors]:
        """Start a batch; see ``Pipelined``."""
        try:
            return self._threads.submit(self._session.run, inputs)
        except RuntimeError as error:  # what a pool of threads says that takes no more work
            raise ValueError("the session is closed") from error

    def collect(self, request: Future[Tensors]) -> Tensors:
        """The outputs of a batch, or the error that it ended with; see ``Pipelined``."""
        return request.result()

    def close(self) -> None:
        """Free the session, once, after the batches that were submitted."""
        with self._closing:
            self._threads.shutdown()
            if not self._closed:
                self._closed = True
                self._session.close()
