"""Preprocessing as a configuration describes it in ``TestReader``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pssdet.models.architecture import PADDING_MULTIPLE
from pssdet.models.configuration.node import MISSING, ConfigNode, ConfigValue, empty, is_number, repr_yaml
from pssdet.models.configuration.yaml_files import Tagged
from pssdet.models.reader import Preprocessing

#: Verification runs the detector on a batch of two pictures of this size.
MAX_SIDE = 4096

#: Keys that decide how pictures are fetched, not what becomes of one.
FETCHING = (
    "batch_size",
    "bufsize",
    "class_aware_sampling",
    "collate_batch",
    "drop_empty",
    "drop_last",
    "fuse_normalize",
    "memsize",
    "mixup_epoch",
    "cutmix_epoch",
    "num_classes",
    "shuffle",
    "use_process",
    "use_shared_memory",
    "worker_num",
)

_INTERPOLATIONS: dict[int, Literal["linear", "cubic"]] = {1: "linear", 2: "cubic"}
_MEAN = [0.485, 0.456, 0.406]

Step = tuple[str, object]


def dygraph_preprocessing(root: ConfigNode) -> Preprocessing:
    """``TestReader`` of the dygraph format: each step is a mapping of one key."""
    reader = _reader(root)
    decode, resize, normalise, permute = _steps(
        reader, "sample_transforms", ("Decode", "Resize", "NormalizeImage", "Permute"), _of_mapping
    )
    del permute  # it has no settings
    decode.ignore("rtn_im_file")
    resize.get("keep_ratio").only(True)  # noqa: FBT003
    short, long = _two_sides(resize.get("target_size"))
    normalise.fixed(norm_type="mean_std")
    # The constructor's default was ones until release 2.4 and is ImageNet's from 2.5 on.
    mean, std = _mean_and_std(normalise, MISSING)
    (padding,) = _steps(reader, "batch_transforms", ("PadBatch",), _of_mapping)
    padding.ignore("pad_gt")
    stride = padding.get("pad_to_stride", 0).integer(
        PADDING_MULTIPLE, 8 * PADDING_MULTIPLE, step=PADDING_MULTIPLE
    )
    return Preprocessing(short, long, _interpolation(resize), "first", mean, std, stride)


def static_preprocessing(root: ConfigNode) -> Preprocessing:
    """``TestReader`` of the static format: each step is a tagged mapping."""
    reader = _reader(root)
    dataset = reader.get("dataset", {}).value
    if isinstance(dataset, Tagged):
        dataset = dataset.value
    if isinstance(dataset, dict) and dataset.get("with_background", True) is not True:
        reader.errors.add("TestReader.dataset.with_background", "must be true: class 0 is the background")
    decode, normalise, resize, permute = _steps(
        reader, "sample_transforms", ("DecodeImage", "NormalizeImage", "ResizeImage", "Permute"), _of_tag
    )
    decode.fixed(to_rgb=True)
    decode.ignore("with_mixup", "with_cutmix")
    normalise.get("is_channel_first", default=True).only(False)  # noqa: FBT003
    mean, std = _mean_and_std(normalise, [1, 1, 1])
    short = resize.get("target_size", 0).integer(PADDING_MULTIPLE, MAX_SIDE)
    long = resize.get("max_size", 0).integer(PADDING_MULTIPLE, MAX_SIDE)
    resize.fixed(use_cv2=True)
    resize.ignore("resize_box")
    permute.get("to_bgr", default=True).only(False)  # noqa: FBT003
    permute.fixed(channel_first=True)
    (padding,) = _steps(reader, "batch_transforms", ("PadBatch",), _of_tag)
    padding.get("pad_to_stride", 0).only(PADDING_MULTIPLE)
    padding.fixed(use_padded_im_info=True)
    return Preprocessing(short, long, _interpolation(resize), "last", mean, std, PADDING_MULTIPLE)


def sides_of(reader: object) -> tuple[object, ...]:
    """Targets of the shorter and longer side in a reader, nothing else checked; empty if it has none."""
    items = reader.get("sample_transforms") if isinstance(reader, dict) else None
    for item in items if isinstance(items, list) else []:
        (name, settings), *_ = [*(_of_tag(item) if isinstance(item, Tagged) else _of_mapping(item)), ("", None)]
        if name == "ResizeImage" and isinstance(settings, dict):
            return settings.get("target_size"), settings.get("max_size")
        if name == "Resize" and isinstance(settings, dict):
            target = settings.get("target_size")
            pair = target if isinstance(target, list) else [target, target]
            return tuple(sorted(pair)) if all(isinstance(each, int) for each in pair) else tuple(pair)
    return ()


def _reader(root: ConfigNode) -> ConfigNode:
    reader = root.child("TestReader")
    reader.ignore(*FETCHING)
    reader.child("inputs_def").ignore("fields", "image_shape")
    return reader


def _steps(
    reader: ConfigNode, key: str, names: Sequence[str], unpack: Callable[[object], list[Step]]
) -> list[ConfigNode]:
    """The node of each step; empty ones unless the steps are these in this order."""
    setting = reader.get(key)
    items = setting.value if isinstance(setting.value, list) else []
    steps = [step for item in items for step in unpack(item)]
    found = [name for name, _ in steps]
    if found == list(names):
        return [
            ConfigValue(reader.errors, f"{setting.place}.{name}", each, given=True).node()
            for name, each in steps
        ]
    if setting.given:
        reader.errors.add(setting.place, f"is {repr_yaml(found)} (supported: {repr_yaml(names)})")
    else:
        setting.refuse(repr_yaml(names))
    return [empty() for _ in names]


def _of_mapping(item: object) -> list[Step]:
    return list(item.items()) if isinstance(item, dict) else [(repr_yaml(item), None)]


def _of_tag(item: object) -> list[Step]:
    return [(item.tag.removeprefix("!"), item.value)] if isinstance(item, Tagged) else [(repr_yaml(item), None)]


def _two_sides(setting: ConfigValue) -> tuple[int, int]:
    """Targets of the shorter and of the longer side, whichever order they are given in."""
    value = setting.value if isinstance(setting.value, list) else [setting.value] * 2
    if len(value) == 2 and all(
        isinstance(each, int) and is_number(each, PADDING_MULTIPLE, MAX_SIDE) for each in value
    ):
        return min(value), max(value)
    setting.refuse(f"two sides of {PADDING_MULTIPLE} to {MAX_SIDE} pixels")
    return PADDING_MULTIPLE, PADDING_MULTIPLE


def _interpolation(resize: ConfigNode) -> Literal["linear", "cubic"]:
    setting = resize.get("interp", 1)
    setting.only(*_INTERPOLATIONS)
    return _INTERPOLATIONS.get(setting.value, "linear") if isinstance(setting.value, int) else "linear"


def _mean_and_std(
    normalise: ConfigNode, default_std: object
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    normalise.fixed(is_scale=True)
    mean = normalise.get("mean", _MEAN).numbers(3, -1e3, 1e3)
    std = normalise.get("std", default_std).numbers(3, 1e-6, 1e3)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
