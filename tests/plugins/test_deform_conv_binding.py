"""The binding of the deformable convolution as the GPU check uses it: structures, arguments, statuses."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat, DeformConvLibrary
from pssdet.plugins.bindings.libraries import find_kernels
from pssdet.validation.gpu_check import machine
from pssdet.validation.gpu_check.shapes import ODD, Problem

ROOT = Path(__file__).resolve().parents[2]

#: Written against the header alone: every field is named, so that a wrong order on either side shows.
STUB = """
#include <cstring>
#include "dcnv2.h"
extern "C" {
PSSDET_API int32_t seen_problem[17], seen_format[6], seen_tile;
PSSDET_API const void* seen_pointers[7];
static void look(const pssdet_dcnv2_problem* p, const pssdet_dcnv2_format* f) {
  const int32_t sizes[] = {p->batch, p->channels, p->height, p->width, p->out_channels, \
p->kernel_h, p->kernel_w,
      p->stride_h, p->stride_w, p->dilation_h, p->dilation_w, \
p->pad_top, p->pad_left, p->pad_bottom, p->pad_right,
      p->groups, p->offset_groups};
  static_assert(sizeof(sizes) == sizeof(*p), "all fields");
  memcpy(seen_problem, sizes, sizeof(sizes));
  if (!f) return;
  const int32_t layout[] = {f->data_type, f->data_layout, f->offset_type, f->offset_layout, \
f->raw_mask, f->relu};
  static_assert(sizeof(layout) == sizeof(*f), "all fields");
  memcpy(seen_format, layout, sizeof(layout));
}
const char* pssdet_dcnv2_version(void) { return "1"; }
pssdet_status pssdet_dcnv2_output_size(const pssdet_dcnv2_problem* p, int32_t* h, int32_t* w) {
  look(p, nullptr);
  *h = 31, *w = 32;
  return p->batch < 1 ? PSSDET_BAD_PROBLEM : PSSDET_OK;
}
pssdet_status pssdet_dcnv2_pack_weights(\
const pssdet_dcnv2_problem* p, pssdet_dtype type, const float* from, void* to) {
  for (int i = 0; i < p->out_channels; ++i) {
    if (type == PSSDET_F16) static_cast<uint16_t*>(to)[i] = uint16_t(from[i]);
    if (type == PSSDET_F32) static_cast<float*>(to)[i] = 2 * from[i];
  }
  return PSSDET_OK;
}
int32_t pssdet_dcnv2_tile_count(const pssdet_dcnv2_problem* p, const pssdet_dcnv2_format* f) \
{ look(p, f); return 5; }
pssdet_status pssdet_dcnv2_run(const pssdet_dcnv2_problem* p, const pssdet_dcnv2_format* f, const void* x,
    const void* offset, const void* mask, const void* weight, \
const float* bias, void* y, int32_t tile, void* stream) {
  look(p, f);
  const void* pointers[] = {x, offset, mask, weight, bias, y, stream};
  memcpy(seen_pointers, pointers, sizeof(pointers));
  seen_tile = tile;
  return tile == 3 ? PSSDET_BAD_PROBLEM : tile == 4 ? PSSDET_CUDA_ERROR : PSSDET_OK;
}
}
"""
PROBLEM = Problem(*range(1, 18))
TENSORS = {"x": 16, "offset": 32, "weight": 64, "bias": 80, "y": 96}


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("stub")
    (folder / "stub.cpp").write_text(STUB)
    command = [
        "g++",
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-I",
        ROOT / "plugins" / "dcnv2",
        "-o",
        folder / "libstub.so",
    ]
    subprocess.run([*command, folder / "stub.cpp"], check=True)
    return DeformConvLibrary(folder / "libstub.so")


def seen(stub, name, count, kind):
    return list((kind * count).in_dll(stub._library, name))


def test_every_field_arrives_under_its_name(stub):
    from ctypes import c_int32, c_void_p

    form = DeformConvFormat(half=True, half_offset=True, raw_mask=True)
    stub.run(PROBLEM, form, **TENSORS, tile=2, stream=112)
    assert seen(stub, "seen_problem", 17, c_int32) == list(range(1, 18))
    assert seen(stub, "seen_format", 6, c_int32) == [1, 0, 1, 0, 1, 0]
    assert seen(stub, "seen_pointers", 7, c_void_p) == [16, 32, None, 64, 80, 96, 112]
    assert seen(stub, "seen_tile", 1, c_int32) == [2]
    other = DeformConvFormat(channels_last=True, offset_channels_last=True, relu=True)
    assert stub.tile_count(PROBLEM, other) == 5
    assert seen(stub, "seen_format", 6, c_int32) == [0, 1, 0, 1, 0, 1]
    stub.run(PROBLEM, form, **TENSORS | {"mask": 48, "y": (1 << 47) + 16}, tile=AUTO_TILE, stream=0)
    assert seen(stub, "seen_pointers", 7, c_void_p)[2:] == [48, 64, 80, (1 << 47) + 16, None]
    assert seen(stub, "seen_tile", 1, c_int32) == [-1]


def test_a_status_becomes_an_error(stub):
    with pytest.raises(BadInput, match="contradict each other"):
        stub.run(PROBLEM, DeformConvFormat(), **TENSORS, tile=3)
    with pytest.raises(EnvironmentMissing, match="the GPU refused the launch"):
        stub.run(PROBLEM, DeformConvFormat(), **TENSORS, tile=4)
    with pytest.raises(BadInput, match="contradict each other"):
        stub.output_size(Problem(0, *range(2, 18)))


def test_host_functions(stub):
    assert stub.output_size(PROBLEM) == (31, 32)
    assert (stub.version, stub.path.name) == ("1", "libstub.so")
    problem, values = Problem(1, 1, 1, 1, 5, 1, 1), np.arange(5, dtype="f4").reshape(5, 1, 1, 1)
    assert stub.pack_weights(problem, values, half=True).reshape(-1).view(np.uint16).tolist() == [0, 1, 2, 3, 4]
    assert stub.pack_weights(problem, values).reshape(-1).tolist() == [0, 2, 4, 6, 8]


def test_the_built_library_packs_and_counts():
    """The host functions of the real library, which need no GPU; where it is built."""
    try:
        library = DeformConvLibrary(find_kernels())
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))
    for problem in ODD.values():
        assert library.output_size(problem) == (problem.out_height, problem.out_width)
        shape = (problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w)
        weight = np.random.default_rng(1).normal(size=shape).astype("f4")
        for dtype in ("half", "float32"):
            packed = library.pack_weights(problem, weight, half=dtype == "half")
            assert packed.tolist() == np.moveaxis(weight, 1, -1).astype(dtype).tolist()
    fused = DeformConvFormat(half=True, channels_last=True)
    assert library.tile_count(ODD["3x3 on 9x11"], fused) >= 1
    assert library.tile_count(ODD["groups"], fused) == 0


class TestWhatIsNoLibrary:
    def test_another_file(self, tmp_path):
        (tmp_path / "lib.so").write_text("no library")
        with pytest.raises(EnvironmentMissing, match="cannot be loaded"):
            DeformConvLibrary(tmp_path / "lib.so")

    def test_a_library_without_its_cuda_part(self, tmp_path, monkeypatch):
        if not shutil.which("g++"):
            pytest.skip("no C++ compiler")
        (tmp_path / "empty.cpp").write_text('extern "C" const char* pssdet_dcnv2_version() { return "1"; }')
        subprocess.run(["g++", "-shared", "-fPIC", "-o", tmp_path / "e.so", tmp_path / "empty.cpp"], check=True)
        monkeypatch.setenv("PSSDET_KERNELS", str(tmp_path / "e.so"))
        with pytest.raises(EnvironmentMissing, match="without its CUDA kernels"):
            machine.kernels(None)
