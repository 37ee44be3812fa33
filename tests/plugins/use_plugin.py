"""What a Python program does with libpssdet_plugins.so, in its own process: use_plugin.py LIBRARY dlopen|load.

Prints one JSON object, or one with the single key "skip". Runs under any Python with TensorRT, without a GPU.
"""

import ctypes
import importlib
import json
import sys

#: Of each plugin, attributes that make one and a change that makes none.
PLUGINS = {
    "PssDetDeformConv2d": (
        {"pads": [1, 1, 1, 1], "has_bias": [1], "raw_mask": [1], "relu": [1]},
        {"pads": [1, 1, 1]},
    ),
    "PssDetGenerateProposals": (
        {
            "anchors": [-8.0, -4.0, 7.0, 3.0] * 6,
            "strides": [4, 8],
            "pre_nms_top_n": [1000],
            "post_nms_top_n": [300],
            "nms_threshold": [0.7],
            "min_size": [0.0],
            "pixel_offset": [1.0],
            "clip_multiple": [32.0],
        },
        {"strides": [4, 8, 16, 32, 64]},
    ),
    "PssDetMultilevelRoiAlign": (
        {
            "strides": [4, 8, 16, 32],
            "min_level": [2],
            "canonical_level": [4],
            "canonical_size": [224.0],
            "pixel_offset": [0.0],
            "output_size": [7],
            "sampling_ratio": [0],
            "aligned": [1],
        },
        {"aligned": [2]},
    ),
    "PssDetMulticlassNms": (
        {"score_threshold": [0.05], "nms_threshold": [0.5], "max_detections": [100], "pixel_offset": [1.0]},
        {"nms_threshold": [float("nan")]},
    ),
}


def tensorrt():
    for name in ("tensorrt", "tensorrt_lean", "tensorrt_lean_bindings"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def main(library, way):
    trt = tensorrt()
    if trt is None:
        return {"skip": "TensorRT is not installed in this Python"}
    import numpy as np

    registry = trt.get_plugin_registry()
    loaded = tuple(int(part) for part in trt.__version__.split(".")[:3])
    if way == "load" and not hasattr(registry, "load_library"):
        return {"skip": f"TensorRT {trt.__version__} cannot load plugin libraries"}
    handle = registry.load_library(library) if way == "load" else ctypes.CDLL(library)
    number = ctypes.CDLL(library).pssdet_plugins_tensorrt_version()
    thousands = 10000 if number >= 10000 else 1000
    compiled = (number // thousands, number % thousands // 100, number % 100)
    fits = loaded[0] == compiled[0] if compiled[0] >= 10 else loaded == compiled
    if not fits:
        return {"skip": f"the library is for TensorRT {compiled}, and {loaded} is installed"}

    old = loaded[0] < 10
    find = registry.get_plugin_creator if old else registry.get_creator
    result = {"handle": handle is not None}
    for name, (good, bad) in PLUGINS.items():
        creator = find(name, "1", "pssdet")
        result[f"{name} found"] = creator is not None
        if creator is None:
            continue
        plugin = create(trt, np, creator, good)
        result[f"{name} created"] = plugin is not None
        result[f"{name} refused"] = create(trt, np, creator, good | bad) is None
        if old and plugin is not None:
            plan = bytes(plugin.serialize())
            result[f"{name} restored"] = bytes(creator.deserialize_plugin("test", plan).serialize()) == plan
            result[f"{name} cut short"] = creator.deserialize_plugin("test", plan[:-1]) is None
    return result


def create(trt, np, creator, attributes):
    """A plugin; attributes whose values have a point are reals."""
    fields = []
    for name, values in attributes.items():
        real = isinstance(values[0], float)
        data = np.asarray(values, np.float32 if real else np.int32)
        kind = trt.PluginFieldType.FLOAT32 if real else trt.PluginFieldType.INT32
        fields.append(trt.PluginField(name, data, kind))
    collection = trt.PluginFieldCollection(fields)
    phase = () if hasattr(creator, "deserialize_plugin") else (trt.TensorRTPhase.BUILD,)
    return creator.create_plugin("test", collection, *phase)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
