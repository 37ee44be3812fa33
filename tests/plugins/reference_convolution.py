"""DCNv2 on a CPU, in float32 or float64, the kernels' reference (``plugins/tests/dcnv2_reference.cpp``)."""

import ctypes

import numpy as np

from pssdet.errors import BadInput
from pssdet.plugins.bindings.deform_conv import DeformConvLibrary


class ReferenceConvolution(DeformConvLibrary):
    """``libpssdet_reference.so``."""

    def convolve(
        self, params, x, offset, weight, *, mask=None, bias=None, raw_mask=False, relu=False, exact=False
    ):
        """The convolution of packed weights in float32 or, if ``exact``, in float64, rounded at the end.

        With ``raw_mask`` the masks, before their sigmoid, are the last third of ``offset``'s channels.
        """
        size = self.output_size(params)
        n, out, masks = params.batch, params.out_channels, params.taps * params.offset_groups
        tensors = (
            _checked("x", x, (n, params.channels, params.height, params.width)),
            _checked("offset", offset, (n, masks * (3 if raw_mask else 2), *size)),
            _checked("mask", mask, (n, masks, *size)),
            _checked(
                "weight", weight, (out, params.kernel_h, params.kernel_w, params.channels // params.groups)
            ),
            _checked("bias", bias, (out,)),
        )
        y = np.empty((n, out, *size), np.float32)
        flags = (ctypes.c_int32(flag) for flag in (raw_mask, relu, exact))
        addresses = (
            None if tensor is None else ctypes.c_void_p(tensor.ctypes.data) for tensor in (*tensors, y)
        )
        self._call("dcnv2_reference", params, *flags, *addresses)
        return y


def _checked(name, tensor, shape):
    if tensor is not None and (tensor.shape != shape or tensor.dtype != np.float32):
        raise BadInput(f"{name} is {tensor.dtype}{list(tensor.shape)}; float32{list(shape)} is needed")
    return None if tensor is None else np.ascontiguousarray(tensor)
