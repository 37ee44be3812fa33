"""What ``pytest -n auto --dist loadfile`` needs: few enough workers, few threads, slow folders made once."""

import fcntl
import os

#: The largest rows, in Paddle and in ONNX Runtime at once, stay below it.
GIGABYTES_PER_WORKER = 3


def is_worker():
    return "PYTEST_XDIST_WORKER" in os.environ


def use_few_threads():
    """Before NumPy and Paddle are imported: workers share the cores, and so do processes that tests start."""
    if not is_worker():
        return
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))


def limit_onnxruntime():
    """ONNX Runtime knows no variable: its options start with the workers' number of threads."""
    if not is_worker():
        return
    import onnxruntime

    class Options(onnxruntime.SessionOptions):
        def __init__(self):
            super().__init__()
            self.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])

    onnxruntime.SessionOptions = Options


def workers():
    """As many as there are cores, or as the memory holds."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory / GIGABYTES_PER_WORKER)))


def shared_folder(tmp_path_factory, name, make):
    """A folder that ``make`` fills, once for all workers of a run."""
    if not is_worker():
        folder = tmp_path_factory.mktemp(name)
        make(folder)
        return folder
    root = tmp_path_factory.getbasetemp().parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # A worker that failed here fails for its own tests; the next one tries again.
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
