"""The parameters with which the original static programs computed their stored outputs (rows 1-3).

Like ``pssdet.models.parameters``, but by the static variables' names; the classification layers were
calibrated once, so that the scores spread over the classes. Their biases are stored, and a factor for the
weights of each class.
"""

import hashlib
import zlib

import numpy as np

#: Over names, shapes and values of a row; a change would make the stored outputs meaningless.
SHA256 = {
    1: "0a435923c17cb2901dee6b5ed680c7088f45609121d207c74e81571aea9dd629",
    2: "c18a2adaa33649306a2260e842591657b310b62b51c1bca78ce22fdf09788701",
    3: "cfefc5c0547f4c9d3586eab5d18f56d0ab3bb9e9036f961530091c895504c22c",
}

#: Standard deviation of weights, times 1/sqrt(inputs of one output); first match wins.
GAINS = (
    ("conv_offset", 0.3),
    ("rpn_cls_logits", 1.2),
    ("rpn_bbox_pred", 0.5),
    ("bbox_pred", 1.0),
    ("cls_score", 3.0),
    ("fpn_inner", 1.0),
    ("fpn_res2", 0.2),
    ("fpn_res3", 0.3),
    ("fpn_res4", 0.6),
    ("fpn_res5", 1.2),
)


def static_parameters(row, data):
    """Every variable of a row by its static name; ``data`` is the folder of manifests and stored heads."""
    shapes = read_manifest(data / f"row{row}.tsv")
    with np.load(data / "classification_heads.npz") as heads:
        stored = {name.partition("/")[2]: heads[name] for name in heads.files if name.startswith(f"row{row}/")}
    parameters = {}
    for name, shape in shapes.items():
        value = np.ascontiguousarray(draw(name, shape), np.float32)
        if name in stored:
            value = np.float32(value * stored[name]) if name.endswith("_w") else stored[name]
        parameters[name] = value
    assert digest(parameters) == SHA256[row]
    return parameters


def read_manifest(path):
    lines = path.read_text().splitlines()
    return {key: tuple(map(int, shape.split("x"))) for key, shape in (line.split("\t") for line in lines)}


def digest(parameters):
    sha = hashlib.sha256()
    for name in sorted(parameters):
        array = parameters[name]
        sha.update(f"{name}\t{'x'.join(map(str, array.shape))}\n".encode())
        sha.update(array.astype("<f4").tobytes())
    return sha.hexdigest()


def draw(name, shape):
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.startswith("bn"):
        kind = name.rpartition("_")[2]
        if kind == "variance":
            return rng.uniform(0.8, 1.25, shape)
        if kind == "scale":
            return (0.25 if "branch2c" in name else 1.0) * rng.uniform(0.8, 1.2, shape)
        return rng.normal(0.0, 0.05, shape)
    if len(shape) == 1:
        bias = rng.normal(0.0, 0.5 if "conv_offset" in name else 0.02, shape)
        if name.startswith("rpn_bbox_pred"):
            bias = (bias.reshape(-1, 4) + np.array([0.0, 0.0, 0.35, 0.35])).reshape(shape)
        return bias
    inputs = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
    gain = next((gain for part, gain in GAINS if part in name), None)
    return rng.normal(0.0, np.sqrt(2.0 / inputs) if gain is None else gain / np.sqrt(inputs), shape)
