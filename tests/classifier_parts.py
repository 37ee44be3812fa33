"""The original classifier's parameters, and a narrow classifier for what need not be of full size.

``reference/classifier.npz`` holds what PaddleClas 2.0 computed on these parameters, to the last bit what
PaddleClas 2.5 did; ``resnet50_vd.tsv`` the names of its parameters: static, of 2.0, of 2.5.
"""

import numpy as np
from reference import DATA, synthetic_image
from static_parameters import draw

from pssdet.models.classification import ClassifierArchitecture, ClassifierEntry
from pssdet.models.labels import numbered
from pssdet.models.reader import CentreCrop

NARROW = ClassifierArchitecture(blocks=(1, 1, 2, 1), stem_width=4, base_width=4, num_classes=10)
NARROW_ENTRY = ClassifierEntry(
    "narrow", "a narrow classifier", "nowhere", 0.0, 0.0, NARROW, CentreCrop(64, 48), numbered(10)
)


def reference():
    with np.load(DATA / "reference" / "classifier.npz") as arrays:
        return dict(arrays)


def manifest():
    """Rows of static name, name of 2.0, name of 2.5, shape."""
    lines = [line.split("\t") for line in (DATA / "resnet50_vd.tsv").read_text().splitlines()]
    return [(*names, tuple(map(int, shape.split("x")))) for *names, shape in lines]


def static_values():
    """The parameters by static name."""
    return {name: np.ascontiguousarray(draw(name, shape), np.float32) for name, _, _, shape in manifest()}


def reference_input():
    return np.concatenate([synthetic_image(seed, (97, 131), (97, 131)) for seed in (7, 8)])


def under_old_names(parameters, arch):
    """The classifier's parameters as a checkpoint of PaddleClas 2.0 names them."""
    from pssdet.models.checkpoint_formats.parameter_names import _layers

    prefixes = {f"backbone.{own}.": f"{old}." for own, old, _ in _layers(arch.backbone)} | {"fc.": "out."}
    renamed = {}
    for name, value in parameters.items():
        prefix = next(
            each for each in prefixes if name.startswith(each) and "conv.conv" not in name[len(each) :]
        )
        rest = name[len(prefix) :].replace("norm.", "_batch_norm.").replace("conv.", "_conv.")
        renamed[prefixes[prefix] + rest] = value
    return renamed
