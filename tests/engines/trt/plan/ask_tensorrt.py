"""Whether a real TensorRT has the names of its table: ask_tensorrt.py SRC TESTS prints JSON; needs no GPU."""

import importlib
import json
import sys


def main(source, tests):
    sys.path[:0] = [source, tests]
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        return {"skip": f"TensorRT cannot be imported: {error}"}
    from api_tables.table import TENSORRT, Table, present

    from pssdet.engines.trt.callbacks import error_log, progress_monitor
    from pssdet.engines.trt.plan.capabilities import capabilities_of, choose_route

    capabilities = capabilities_of(trt)
    logger, reported = error_log(trt), []
    logger.log(trt.ILogger.WARNING, "a warning")
    logger.log(trt.ILogger.ERROR, "an error")
    if capabilities.progress:
        watcher = progress_monitor(trt, reported.append)
        watcher.phase_start("phase", None, 2)
        watcher.step_complete("phase", 0)
    table = Table.load(TENSORRT)
    version = table.nearest(trt.__version__)
    return {
        "version": trt.__version__,
        "wrong": [name for name in table.names if present(trt, name) != (table.get(name, version) is not None)],
        "route": choose_route(capabilities, reduced=True),
        "capabilities": {name: value for name, value in vars(capabilities).items() if isinstance(value, bool)},
        "errors": logger.last_errors(),
        "reported": reported,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
