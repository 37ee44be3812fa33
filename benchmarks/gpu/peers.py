"""Peers of the DCNv2 kernel: torchvision, plain convolutions by cuDNN, TensorRT's own plugin.

The last needs TensorRT 8.6 to 10 beside PyTorch; it was written against the documentation and has not run yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pssdet.validation.gpu_check.device import BareDevice, Replay, Work, run_all
from pssdet.validation.gpu_check.launches import Values, draw, sigmoid
from pssdet.validation.gpu_check.shapes import Layer, Problem

_PLUGIN = "ModulatedDeformConv2d"


def torchvision_half(layers: Sequence[Layer], seed: int) -> Work:
    """Deformable convolutions by torchvision, float16, NCHW."""
    from torchvision.ops import deform_conv2d

    calls = [
        partial(deform_conv2d, values.x, values.offset, values.weight, values.bias, mask=values.mask, **options)
        for values, options in _half(layers, seed)
    ]
    return partial(run_all, calls)


def convolution_half(layers: Sequence[Layer], seed: int) -> Work:
    """Plain convolutions, float16 NHWC; without a bias, for which PyTorch would launch another kernel."""
    calls = []
    for values, options in _half(layers, seed):
        x, weight = (part.contiguous(memory_format=torch.channels_last) for part in (values.x, values.weight))
        calls.append(partial(functional.conv2d, x, weight, **options))
    return partial(run_all, calls)


def tensorrt_half(layers: Sequence[Layer], seed: int) -> Work:
    """TensorRT's built-in plugin, float16: one execution of an engine with all layers side by side."""
    try:
        import tensorrt as trt
    except ImportError as error:
        raise RuntimeError("tensorrt cannot be imported") from error
    if not hasattr(trt.BuilderFlag, "FP16"):
        raise RuntimeError(f"TensorRT {trt.__version__} has no flag for half precision, which {_PLUGIN} needs")
    logger = trt.Logger(trt.Logger.ERROR)
    trt.init_libnvinfer_plugins(logger, "")
    plan = _build(trt, logger, layers, seed)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    buffers = []
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        random = np.random.default_rng(1000 * seed + number)
        buffer = _on_gpu(random.standard_normal(tuple(engine.get_tensor_shape(name)), np.float32))
        if name.endswith("offset"):
            buffer *= 1.5
        context.set_tensor_address(name, buffer.data_ptr())
        buffers.append(buffer)

    # The context refers to the engine and the buffers.
    return partial(_execute, context, (engine, buffers))


PEERS = {"torchvision": torchvision_half, "convolution": convolution_half, "tensorrt": tensorrt_half}


def recorded(device: BareDevice, works: Sequence[Work]) -> Replay:
    """The works as a CUDA graph of PyTorch's on the device's stream; piece by piece where that fails."""
    stream = torch.cuda.ExternalStream(device.stream())
    work = partial(run_all, works)
    with torch.no_grad(), torch.cuda.stream(stream):
        # cuDNN looks for its fastest algorithm in the first run.
        torch.backends.cudnn.benchmark = True
        work()
        work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                work()
        except RuntimeError:
            return Replay(partial(_on_stream, stream, work), work, is_graph=False)
    return Replay(partial(_on_stream, stream, graph.replay), (graph, work))


def _on_stream(stream: Any, work: Work) -> None:
    with torch.cuda.stream(stream):
        work()


def _on_gpu(values: NDArray[np.float32]) -> Any:
    return torch.from_numpy(values).to("cuda").half()


def _half(layers: Sequence[Layer], seed: int) -> list[tuple[Any, dict[str, tuple[int, ...]]]]:
    """The tensors of each layer on the GPU, as ``Values`` of PyTorch's arrays, and its options."""
    calls = []
    for number, layer in enumerate(layers):
        values = draw(layer.problem, "near", 1000 * seed + number)
        values = values._replace(mask=sigmoid(values.mask))
        calls.append((Values(*map(_on_gpu, values)), _options(layer.problem)))
    return calls


def _options(problem: Problem) -> dict[str, tuple[int, ...]]:
    """Stride, padding and dilation; the layers are padded equally on all sides."""
    return {
        "stride": (problem.stride_h, problem.stride_w),
        "padding": (problem.pad_top, problem.pad_left),
        "dilation": (problem.dilation_h, problem.dilation_w),
    }


def _execute(context: Any, _keeps: object) -> None:
    if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
        raise RuntimeError("TensorRT's execution failed")


def _build(trt: Any, logger: Any, layers: Sequence[Layer], seed: int) -> Any:
    creator = trt.get_plugin_registry().get_plugin_creator(_PLUGIN, "1", "")
    if creator is None:
        raise RuntimeError(f"this TensorRT ({trt.__version__}) has no {_PLUGIN}")
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.FP16)
    # TensorRT refers to them until the engine is built.
    constants = [_constants(layer.problem, 1000 * seed + number) for number, layer in enumerate(layers)]
    for number, (layer, arrays) in enumerate(zip(layers, constants, strict=True)):
        _add(trt, network, creator, str(number), layer.problem, arrays)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("TensorRT built no engine")
    return plan


def _constants(problem: Problem, seed: int) -> list[NDArray[np.float16]]:
    random, spread = np.random.default_rng(seed), problem.depth**-0.5
    weight = random.normal(
        0, spread, (problem.out_channels, problem.channels, problem.kernel_h, problem.kernel_w)
    )
    return [values.astype(np.float16) for values in (weight, random.normal(0, 0.5, problem.out_channels))]


def _add(
    trt: Any, network: Any, creator: Any, name: str, problem: Problem, constants: list[NDArray[np.float16]]
) -> None:
    out = (problem.out_height, problem.out_width)
    shapes = {
        "x": (problem.batch, problem.channels, problem.height, problem.width),
        "offset": (problem.batch, 2 * problem.taps, *out),
        "mask": (problem.batch, problem.taps, *out),
    }
    inputs = [network.add_input(f"{name}.{part}", trt.float16, shape) for part, shape in shapes.items()]
    for tensor in inputs:
        tensor.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
    inputs += [network.add_constant(each.shape, trt.Weights(each)).get_output(0) for each in constants]
    settings = _options(problem) | {"group": (1,), "deformable_group": (1,)}
    fields = [
        trt.PluginField(key, np.array(value, np.int32), trt.PluginFieldType.INT32)
        for key, value in settings.items()
    ]
    plugin = creator.create_plugin(name, trt.PluginFieldCollection(fields))
    output = network.add_plugin_v2(inputs, plugin).get_output(0)
    output.name, output.dtype = f"{name}.y", trt.float16
    output.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)
    network.mark_output(output)
