"""Whether a real TensorRT has the names that builds use: ask_tensorrt.py SRC prints JSON; no GPU, no pytest."""

import importlib
import json
import sys

NAMES = {
    "": "Builder OnnxParser Runtime ILogger float32 float16 __version__",
    "Builder": "create_network create_builder_config create_optimization_profile build_serialized_network",
    "IBuilderConfig": "set_flag clear_flag get_flag set_memory_pool_limit get_tactic_sources set_tactic_sources"
    " create_timing_cache set_timing_cache get_timing_cache add_optimization_profile profiling_verbosity"
    " hardware_compatibility_level plugins_to_serialize set_preview_feature get_preview_feature",
    "BuilderFlag": "TF32 VERSION_COMPATIBLE",
    "MemoryPoolType": "WORKSPACE",
    "ProfilingVerbosity": "DETAILED",
    "LayerInformationFormat": "JSON",
    "TensorIOMode": "INPUT",
    "INetworkDefinition": "num_layers get_layer num_inputs get_input num_outputs get_output mark_output",
    "ILayer": "name type metadata num_inputs get_input num_outputs get_output",
    "ITensor": "name dtype is_shape_tensor",
    "IOptimizationProfile": "set_shape",
    "OnnxParser": "parse num_errors get_error",
    "ParserError": "node desc",
    "ITimingCache": "combine serialize",
    "Runtime": "deserialize_cuda_engine engine_host_code_allowed",
    "ICudaEngine": "create_execution_context create_engine_inspector num_io_tensors get_tensor_name"
    " get_tensor_mode",
    "EngineInspector": "execution_context get_engine_information",
    "IExecutionContext": "set_input_shape",
}
#: Used where the builder has flags for precisions.
FLAGGED = {"BuilderFlag": "FP16 INT8 OBEY_PRECISION_CONSTRAINTS", "ILayer": "precision set_output_type"}


def absent(trt, names):
    return [
        f"{owner}.{name}"
        for owner, listed in names.items()
        for name in listed.split()
        if not hasattr(getattr(trt, owner, None) if owner else trt, name)
    ]


def main(source):
    sys.path.insert(0, source)
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        return {"skip": f"TensorRT cannot be imported: {error}"}
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
    return {
        "version": trt.__version__,
        "absent": absent(trt, NAMES) + ([] if capabilities.always_typed else absent(trt, FLAGGED)),
        "route": choose_route(capabilities, reduced=True),
        "capabilities": {name: value for name, value in vars(capabilities).items() if isinstance(value, bool)},
        "errors": logger.last_errors(),
        "reported": reported,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
