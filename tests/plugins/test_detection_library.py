"""The errors when the detection kernels cannot be used, or get impossible parameters."""

import pytest

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.detection import (
    DetectionLibrary,
    MulticlassNmsParams,
    ProposalsParams,
    RoiAlignParams,
)

PROPOSALS = ProposalsParams(1, ((4, 5), (2, 3)), (4, 8), (0.0,) * 24, 10, 5, 0.7, 1.0, 0.0, 1.0)
ROI_ALIGN = RoiAlignParams(1, 3, 8, ((4, 5), (2, 3)), (4, 8), 2, 4, 224.0, 0.0, 7, 2, aligned=True)
NMS = MulticlassNmsParams(2, 30, 4, 4, 10, 0.05, 0.5, 0.0)


def test_a_library_that_is_not_there(tmp_path):
    with pytest.raises(EnvironmentMissing, match=r"nowhere\.so cannot be loaded.*make plugin"):
        DetectionLibrary(tmp_path / "nowhere.so")


def test_a_library_without_these_kernels(library):
    with pytest.raises(EnvironmentMissing, match="without the detection kernels: put nvcc on PATH"):
        DetectionLibrary(library.path)


def test_workspaces(kernels):
    assert kernels.emulated
    assert kernels.workspace(PROPOSALS) == 2 * 10 * (16 + 8 + 8)
    assert kernels.workspace(NMS) == 2 * 4 * (30 + 10) * 8


def replaced(problem, **changes):
    return type(problem)(**vars(problem) | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strides": (4,)}, "2 maps and 1 strides"),
        ({"sizes": (), "strides": ()}, "0 maps"),
        ({"sizes": ((1, 1),) * 9, "strides": (4,) * 9}, "9 maps"),
        ({"anchors": (0.0,) * 23}, "23 numbers of anchors"),
        ({"anchors": ()}, "0 numbers of anchors"),
        ({"anchors": (0.0,) * 4 * 2 * 17}, "136 numbers of anchors"),
        ({"batch": 2**31}, "32 bits"),
        ({"sizes": ((4, 2**31), (2, 3))}, "32 bits"),
        ({"pre_nms_top_n": 2049}, "too large"),
    ],
)
def test_problems_of_proposals_that_cannot_be(kernels, changes, said):
    with pytest.raises(BadInput, match=said):
        kernels.workspace(replaced(PROPOSALS, **changes))


@pytest.mark.parametrize(
    ("changes", "said"), [({"classes": 2**31}, "32 bits"), ({"box_classes": 3}, "contradict")]
)
def test_problems_of_nms_that_cannot_be(kernels, changes, said):
    with pytest.raises(BadInput, match=said):
        kernels.workspace(replaced(NMS, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strides": (4,)}, "2 maps and 1 strides"),
        ({"channels": 2**31}, "32 bits"),
        ({"output_size": 33}, "too large"),
        ({"sizes": ((4, 5),) * 3, "strides": (4,) * 3}, "2 maps of 3 levels"),
    ],
)
def test_problems_of_roi_align_that_cannot_be(kernels, changes, said):
    addresses = {"maps": [16, 16], "rois": 16, "features": 16}
    with pytest.raises(BadInput, match=said):
        kernels.roi_align(replaced(ROI_ALIGN, **changes), dtype="float32", layout="NCHW", **addresses)


def test_maps_that_are_missing(kernels):
    addresses = dict.fromkeys(("image_size", "proposals", "proposal_scores", "count", "workspace"), 16)
    with pytest.raises(BadInput, match="1 score maps, 2 delta maps and 4 layouts of 2 levels"):
        kernels.proposals(
            PROPOSALS, dtype="half", layouts=["NCHW"] * 4, scores=[16], deltas=[16, 16], **addresses
        )


def test_addresses_that_are_none(kernels):
    names = ("boxes", "scores", "region_count", "best_boxes", "best_scores", "labels", "count", "workspace")
    for bad in names:
        for address in (0, 17):
            with pytest.raises(BadInput, match="contradict"):
                kernels.multiclass_nms(NMS, **dict.fromkeys(names, 16) | {bad: address})
