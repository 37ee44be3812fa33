"""DCNv2's kernels, run in the emulator through the binding, against the CPU reference in float64."""

import numpy as np
import pytest
from emulated_selection import in_layout, rubbish

from pssdet.errors import BadInput
from pssdet.plugins.bindings.deform_conv import DeformConvFormat, DeformConvLibrary, DeformConvParams

PARAMS = DeformConvParams(2, 16, 7, 6, 24, stride_h=2)
TYPES = {False: np.float32, True: np.float16}
#: Data, offsets: whether half, whether NHWC.
FORMATS = {
    "fused": (True, True, False, False),
    "fused, half offsets": (True, True, True, True),
    "direct float32": (False, False, False, False),
    "direct half": (True, False, True, False),
}


@pytest.fixture(scope="module")
def emulated(build):
    library = DeformConvLibrary(build("pssdet_emulated"))
    assert library.emulated
    assert not library.has_cuda
    return library


@pytest.fixture(scope="module")
def tensors():
    random = np.random.default_rng(3)
    size = (PARAMS.out_height, PARAMS.out_width)
    shapes = {
        "x": (2, 16, 7, 6),
        "offset": (2, 18, *size),
        "mask": (2, 9, *size),
        "bias": (24,),
        "weight": (24, 16, 3, 3),
    }
    # Values that halves know, so that only the kernels' own rounding is seen.
    return {
        name: random.normal(0, 1, shape).astype(np.float16).astype(np.float32) for name, shape in shapes.items()
    }


def laid_out(tensor, *, half, last):
    return in_layout(tensor.astype(TYPES[half]), "NHWC" if last else "NCHW")


def run(library, form, tensors, tile):
    placed = {
        "x": laid_out(tensors["x"], half=form.half, last=form.channels_last),
        "offset": laid_out(tensors["offset"], half=form.half_offset, last=form.offset_channels_last),
        "mask": laid_out(tensors["mask"], half=form.half_offset, last=form.offset_channels_last),
        "weight": library.pack_weights(PARAMS, tensors["weight"], half=form.half),
        "bias": tensors["bias"],
    }
    y = rubbish((2, 24, PARAMS.out_height, PARAMS.out_width), TYPES[form.half])
    y = laid_out(y, half=form.half, last=form.channels_last)
    addresses = {name: tensor.ctypes.data for name, tensor in (placed | {"y": y}).items()}
    library.run(PARAMS, form, **addresses, tile=tile)
    return y.transpose(0, 3, 1, 2) if form.channels_last else y


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_equals_the_reference(emulated, library, tensors, form, relu):
    form = DeformConvFormat(*form, relu=relu)
    given = {name: tensors[name] for name in ("x", "offset", "mask", "bias")}
    packed = emulated.pack_weights(PARAMS, tensors["weight"])
    expected = library.convolve(PARAMS, weight=packed, relu=relu, exact=True, **given)
    tiles = emulated.tile_count(PARAMS, form)
    assert (tiles > 0) == form.channels_last
    close = 2e-3 if form.half else 1e-6
    for tile in (-1, *range(tiles)):
        obtained = run(emulated, form, tensors, tile)
        np.testing.assert_allclose(obtained, expected, rtol=0, atol=close * np.abs(expected).max())


def test_a_tile_that_is_none(emulated, tensors):
    with pytest.raises(BadInput, match="contradict"):
        run(emulated, DeformConvFormat(*FORMATS["fused"]), tensors, tile=99)
