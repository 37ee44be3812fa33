"""What a Python program does with libpssdet_plugins.so, in a process of its own: use_plugin.py LIBRARY dlopen|load.

Prints one JSON object, or one with the single key "skip". Runs under any Python that has TensorRT, without a GPU.
"""

import ctypes
import importlib
import json
import sys


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
    creator = (registry.get_plugin_creator if old else registry.get_creator)("PssDetDeformConv2d", "1", "pssdet")
    if creator is None:
        return {"found": False}

    def create(**attributes):
        fields = [
            trt.PluginField(name, np.asarray(values, np.int32), trt.PluginFieldType.INT32)
            for name, values in attributes.items()
        ]
        collection = trt.PluginFieldCollection(fields)
        if old:
            return creator.create_plugin("test", collection)
        return creator.create_plugin("test", collection, trt.TensorRTPhase.BUILD)

    plugin = create(pads=[1, 1, 1, 1], has_bias=[1], raw_mask=[1], relu=[1])
    result = {
        "handle": handle is not None,
        "found": True,
        "created": plugin is not None,
        "refused": create(pads=[1, 1, 1]) is None,
    }
    if old:
        plan = bytes(plugin.serialize())
        again = creator.deserialize_plugin("test", plan)
        result["restored"] = bytes(again.serialize()) == plan
        result["cut_short"] = creator.deserialize_plugin("test", plan[:-1]) is None
    return result


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
