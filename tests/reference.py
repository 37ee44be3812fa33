"""The original programs' outputs on seeded parameters, and how to compare with them.

Every case is a ``.npz`` of one evaluated input. Large maps are represented by the values at
``sample_positions``; synthetic inputs are made again from their seed.
"""

import zlib
from pathlib import Path

import cv2
import numpy as np

from pssdet.models.matching import box_ious, detection_rows, match_detections, pair_proposals
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.stages import FLOAT32, map_stages, region_stages, rows_of_image
from pssdet.models.zoo import ZOO

DATA = Path(__file__).resolve().parent / "data"
ROWS = {entry.row: entry for entry in ZOO if entry.row}
ROW4 = ROWS[4]
SAMPLES = 2000
TILE = 16
#: How far scores of engines are from the originals' at most, and the IoU from which NMS keeps one of two boxes.
ROUNDING, OVERLAP = 2e-5, 0.5


def entry_of(case):
    return ROWS[int(str(case["row"])[len("row") :])]


def load_case(name, folder=DATA / "reference"):
    with np.load(folder / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def case_inputs(case, pictures=DATA):
    """The model's inputs for a case, from its picture (in the folder ``pictures``) or from its seed."""
    entry = entry_of(case)
    if "image" in case:
        picture = cv2.cvtColor(cv2.imread(str(pictures / str(case["image"]))), cv2.COLOR_BGR2RGB)
        inputs = as_batch([prepare(picture, entry.preprocessing)])
        assert inputs["image"].shape == tuple(case["input_shape"])
        if "im_info" in case:  # the static program hands on the padded size
            np.testing.assert_array_equal(np.ceil(inputs["image_size"] / 32) * 32, case["im_info"][:, :2])
            np.testing.assert_array_equal(inputs["scale_factor"][:, :1], case["im_info"][:, 2:])
        else:
            np.testing.assert_array_equal(inputs["image_size"], case["im_shape"])
            np.testing.assert_array_equal(inputs["scale_factor"], case["scale_factor"])
        return inputs
    image = synthetic_image(int(case["image_seed"]), case["content_size"], case["padded_size"])
    np.testing.assert_allclose(image.sum(dtype=np.float64), case["input_sum"], rtol=1e-9, atol=1e-6)
    static = "im_info" in case
    return {
        "image": image,
        # The static program clips to the tensor's size: that of the content rounded up, or more if overpadded.
        "image_size": case["im_info"][:, :2] if static else case["im_shape"],
        "original_size": case["original_size"][None].astype(np.float32),
        "scale_factor": np.repeat(case["im_info"][:, 2:], 2, axis=1) if static else case["scale_factor"],
    }


def sample_positions(name, seed, size, count):
    """Flat positions of the stored values of the array ``name``; small arrays were stored whole."""
    if size <= count:
        return np.arange(size)
    generator = np.random.RandomState((seed + zlib.crc32(name.encode())) & 0xFFFFFFFF)
    return generator.randint(0, size, count)


def synthetic_image(seed, content_size, padded_size):
    """A normalised mosaic of 16-pixel tiles with noise, zero-padded; float32 [1, 3, H, W]."""
    height, width = (int(size) for size in content_size)
    generator = np.random.RandomState(seed)
    tiles = generator.uniform(0, 1, (1, 3, -(-height // TILE), -(-width // TILE))).astype(np.float32)
    mosaic = np.kron(tiles, np.ones((1, 1, TILE, TILE), np.float32))[:, :, :height, :width]
    mosaic = mosaic + generator.normal(0, 0.08, (1, 3, height, width)).astype(np.float32)
    mean = np.array(ROW4.preprocessing.mean, np.float32).reshape(1, 3, 1, 1)
    std = np.array(ROW4.preprocessing.std, np.float32).reshape(1, 3, 1, 1)
    image = np.zeros((1, 3, *(int(size) for size in padded_size)), np.float32)
    image[:, :, :height, :width] = (mosaic - mean) / std
    return image


def disagreements(case, tensors, limits=FLOAT32, image=0):
    """Every stage at which image ``image`` of a run is beyond the limits, as text; empty if none.

    Proposals are compared as a set, and what follows them through their pairs.
    """
    entry = entry_of(case)
    arch, batch = entry.architecture, len(tensors["count"])
    found = [_sampled(case, name, tensors[name][image : image + 1], limits.maps) for name in map_stages(arch)]
    count = int(tensors["proposal_count"][image])
    proposals, scores = tensors["proposals"][image, :count], tensors["proposal_scores"][image, :count]
    pairs = pair_proposals(case["proposals"], case["proposal_scores"], proposals, scores)
    difference = np.abs(proposals[pairs] - case["proposals"]).max(axis=1)
    near = (pairs >= 0) & (difference <= limits.proposals)
    if len(proposals) != len(case["proposals"]) or near.mean() < limits.region_share:
        found.append(f"proposals: {near.sum()} of {len(near)} near, {len(proposals)} in all")
    drift = np.abs(scores[pairs] - case["proposal_scores"])[near].max() / np.abs(case["proposal_scores"]).max()
    if not drift <= limits.maps:
        found.append(f"proposal_scores: {drift}")
    # What is stored counts regions in the original's order, so ours are brought into it.
    found += [
        _region_stage(case, name, rows_of_image(name, tensors[name], image, batch)[pairs], near, limits)
        for name in region_stages(arch)
    ]
    foreground = slice(1, None) if entry.numerics.background == "first" else slice(None, -1)
    probabilities, boxes = (
        rows_of_image(name, tensors[name], image, batch) for name in ("class_probabilities", "decoded_boxes")
    )
    # Boxes are cut off at the picture's edge when NMS is done.
    height, width = case["original_size"] - entry.numerics.pixel_offset
    boxes = boxes.clip(0, [width, height, width, height])
    expected = expected_detections(case)
    rows = with_ties_settled(detection_rows(tensors, image), expected, probabilities[:, foreground], boxes)
    found.append(_detections(expected, rows, limits))
    return [text for text in found if text]


def _region_stage(case, name, rows, near, limits):
    if name.startswith("roi_features"):
        return _sampled(case, name, rows, limits.maps)
    stored = stored_regions(case, name)
    limit = limits.probabilities if name == "class_probabilities" else limits.decoded_boxes
    difference = np.abs(rows[: len(stored)] - stored)[near[: len(stored)]].max()
    return "" if difference <= limit else f"{name}: {difference}"


def _sampled(case, name, array, limit):
    expected_shape = tuple(case[f"{name}_shape"])
    if array.shape != expected_shape:
        return f"{name}: shape {array.shape}, not {expected_shape}"
    positions = sample_positions(name, int(case["sample_seed"]), array.size, SAMPLES)
    expected = case[f"{name}_values"]
    scale = np.abs(expected).max()
    difference = np.abs(array.reshape(-1)[positions] - expected).max() / scale
    mean, deviation = case[f"{name}_stats"]
    whole = max(abs(array.mean(dtype=np.float64) - mean), abs(array.std(dtype=np.float64) - deviation)) / scale
    return "" if difference <= limit and whole <= limit else f"{name}: {difference:.2g}, as a whole {whole:.2g}"


def expected_detections(case):
    """Rows (0-based label, score, x1, y1, x2, y2) of the original program."""
    expected = case["detections"]
    # Without any detection the originals give a row of score 0, or a single -1.
    expected = expected[expected[:, 1] > 0].copy() if expected.shape[1] == 6 else np.zeros((0, 6), np.float32)
    if "im_info" in case:
        expected[:, 0] -= 1  # the static program counts the background as label 0
    return expected


def stored_regions(case, name):
    """A stage's rows of the first regions, without the column of the background box that row 1 stores."""
    return case[name][:, 1:] if name == "decoded_boxes" and case[name].shape[1] == 81 else case[name]


def with_ties_settled(rows, expected, probabilities, boxes):
    """The detections, where NMS had to choose between equal scores with the original's choice.

    Of two overlapping boxes of a class one stays, that of the larger score. Where the scores differ by
    rounding only, either may. It is a tie only if this run computed the original's box, too, with that score.

    Args:
        rows: of the run, [D, 6]; ``expected`` are the original's.
        probabilities: of the regions, without the background, [R, classes].
        boxes: [R, 1 or classes, 4], inside of the picture if that was not resized; else no tie is found.
    """
    settled = rows.copy()
    for row in expected:
        if (_near(rows, row) & (rows[:, 0] == row[0])).any():
            continue
        label = int(row[0])
        of_class = boxes[:, min(label, boxes.shape[1] - 1)]
        computed = np.abs(of_class - row[2:]).max(axis=1) <= FLOAT32.box
        tied = np.abs(probabilities[:, label] - row[1]) <= ROUNDING
        instead = (rows[:, 0] == label) & (np.abs(rows[:, 1] - row[1]) <= ROUNDING)
        instead &= box_ious(row[None, 2:].astype(np.float64), rows[:, 2:].astype(np.float64))[0] > OVERLAP
        if (computed & tied).any() and instead.sum() == 1:
            settled[instead] = row
    return settled


def _near(rows, row):
    return np.abs(rows[:, 2:] - row[2:]).max(axis=1) <= FLOAT32.box


def _detections(expected, rows, limits):
    match = match_detections(rows, expected, limits.score, limits.box)
    needed = limits.full_share if match.expected == 100 else 1.0
    agree = match.obtained == match.expected and match.matched >= needed * match.expected
    return "" if agree else f"detections: {match}"
