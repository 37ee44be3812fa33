"""TensorRT's built-in ModulatedDeformConv2d, half precision: one engine with all layers side by side.

Runs where ``import tensorrt`` works beside PyTorch (8.6 to 10); it was written against TensorRT's documentation and
has not been run yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.device import ArrayDevice, Work
from benchmarks.gpu.shapes import Layer, Problem

_PLUGIN = "ModulatedDeformConv2d"


class Unavailable(RuntimeError):
    """The baseline cannot be measured on this machine; the message says why."""


def tensorrt_half(device: ArrayDevice, layers: Sequence[Layer], seed: int) -> Work:
    """One execution of the engine, on the current stream."""
    try:
        import tensorrt as trt
    except ImportError as error:
        raise Unavailable("tensorrt cannot be imported") from error
    logger = trt.Logger(trt.Logger.ERROR)
    trt.init_libnvinfer_plugins(logger, "")
    plan = _build(trt, logger, layers, seed)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    buffers = []
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        buffer = device.packed(device.normal(tuple(engine.get_tensor_shape(name)), 1000 * seed + number), "float16")
        if name.endswith("offset"):
            buffer *= 1.5
        context.set_tensor_address(name, buffer.data_ptr())
        buffers.append(buffer)

    # The context refers to the engine and the buffers.
    return partial(_execute, context, (engine, buffers))


def _execute(context: Any, _keeps: object) -> None:
    if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
        raise Unavailable("TensorRT's execution failed")


def _build(trt: Any, logger: Any, layers: Sequence[Layer], seed: int) -> Any:
    creator = trt.get_plugin_registry().get_plugin_creator(_PLUGIN, "1", "")
    if creator is None:
        raise Unavailable(f"this TensorRT ({trt.__version__}) has no {_PLUGIN}")
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.FP16)
    constants: list[Any] = []
    for number, layer in enumerate(layers):
        _add(trt, network, creator, f"{number}", layer.problem, np.random.default_rng(1000 * seed + number), constants)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Unavailable("TensorRT built no engine")
    return plan


def _add(
    trt: Any,
    network: Any,
    creator: Any,
    name: str,
    problem: Problem,
    random: np.random.Generator,
    constants: list[Any],
) -> None:
    """One layer with inputs of its own; ``constants`` keeps the arrays that TensorRT refers to."""
    out = (problem.out_height, problem.out_width)
    shapes = {
        "x": (problem.batch, problem.channels, problem.height, problem.width),
        "offset": (problem.batch, 2 * problem.taps, *out),
        "mask": (problem.batch, problem.taps, *out),
    }
    inputs = [network.add_input(f"{name}.{part}", trt.float16, shape) for part, shape in shapes.items()]
    for tensor in inputs:
        tensor.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
    weight = random.normal(
        0, problem.depth**-0.5, (problem.out_channels, problem.channels, problem.kernel_h, problem.kernel_w)
    )
    for values in (weight, random.normal(0, 0.5, problem.out_channels)):
        constants.append(np.ascontiguousarray(values, np.float16))
        inputs.append(network.add_constant(constants[-1].shape, trt.Weights(constants[-1])).get_output(0))
    settings = {
        "stride": (problem.stride_h, problem.stride_w),
        "padding": (problem.pad_top, problem.pad_left),
        "dilation": (problem.dilation_h, problem.dilation_w),
        "group": (1,),
        "deformable_group": (1,),
    }
    fields = [
        trt.PluginField(key, np.array(value, np.int32), trt.PluginFieldType.INT32) for key, value in settings.items()
    ]
    plugin = creator.create_plugin(name, trt.PluginFieldCollection(fields))
    output = network.add_plugin_v2(inputs, plugin).get_output(0)
    output.name, output.dtype = f"{name}.y", trt.float16
    output.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
    network.mark_output(output)
