"""The original programs' outputs on seeded parameters, and how to compare with them.

Every case is a ``.npz`` of one evaluated input. Large maps are represented by the values at
``sample_positions``; synthetic inputs are made again from their seed.
"""

from pathlib import Path

import cv2
import numpy as np
from reference_sampling import sample_positions

from pssdet.models.pairing import match_detections, pair_proposals
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.stages import FLOAT32, detection_rows, map_stages
from pssdet.models.zoo import find

DATA = Path(__file__).resolve().parent / "data"
ROW4 = find("faster_rcnn_enhance_3x_coco")
SAMPLES = 2000
TILE = 16
#: Regions of a case whose class probabilities and boxes are stored.
STORED_REGIONS = 50


def load_case(name):
    with np.load(DATA / "reference" / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def case_inputs(case):
    """The model's inputs for a case, from its picture or from its seed."""
    if "image" in case:
        picture = cv2.cvtColor(cv2.imread(str(DATA / str(case["image"]))), cv2.COLOR_BGR2RGB)
        inputs = as_batch([prepare(picture, ROW4.preprocessing)])
        np.testing.assert_array_equal(inputs["image_size"], case["im_shape"])
        np.testing.assert_array_equal(inputs["scale_factor"], case["scale_factor"])
        return inputs
    image = synthetic_image(int(case["image_seed"]), case["content_size"], case["padded_size"])
    np.testing.assert_allclose(image.sum(dtype=np.float64), case["input_sum"], rtol=1e-9, atol=1e-6)
    return {
        "image": image,
        "image_size": case["im_shape"],
        "original_size": case["original_size"][None].astype(np.float32),
        "scale_factor": case["scale_factor"],
    }


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
    found = [
        _sampled(case, name, tensors[name][image : image + 1], limits.maps) for name in map_stages(ROW4.architecture)
    ]
    slots = ROW4.architecture.post_nms_top_n
    own = slice(image * slots, image * slots + int(tensors["proposal_count"][image]))
    proposals = tensors["proposals"][image, : int(tensors["proposal_count"][image])]
    scores = tensors["proposal_scores"][image, : len(proposals)]
    pairs = pair_proposals(case["proposals"], case["proposal_scores"], proposals, scores)
    difference = np.abs(proposals[pairs] - case["proposals"]).max(axis=1)
    near = (pairs >= 0) & (difference <= limits.proposals)
    if len(proposals) != len(case["proposals"]) or near.mean() < limits.region_share:
        found.append(f"proposals: {near.sum()} of {len(near)} near, {len(proposals)} in all")
    drift = np.abs(scores[pairs] - case["proposal_scores"])[near].max() / np.abs(case["proposal_scores"]).max()
    if not drift <= limits.maps:
        found.append(f"proposal_scores: {drift}")
    # Sampled positions count regions in the original's order, so ours are brought into it.
    found.append(_sampled(case, "roi_features", tensors["roi_features"][own][pairs], limits.maps))
    first = pairs[:STORED_REGIONS]
    for name, limit in (("class_probabilities", limits.probabilities), ("decoded_boxes", limits.decoded_boxes)):
        difference = np.abs(tensors[name][own][first] - case[name])[near[:STORED_REGIONS]].max()
        if not difference <= limit:
            found.append(f"{name}: {difference}")
    found.append(_detections(case, detection_rows(tensors, image), limits))
    return [text for text in found if text]


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


def _detections(case, rows, limits):
    expected = case["detections"][: int(case["bbox_num"][0])]
    # Without any detection the original gives one row of score 0.
    expected = expected[expected[:, 1] > 0]
    match = match_detections(rows, expected, limits.score, limits.box)
    needed = limits.full_share if match.expected == 100 else 1.0
    agree = match.obtained == match.expected and match.matched >= needed * match.expected
    return "" if agree else f"detections: {match}"
