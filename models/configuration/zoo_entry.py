"""From a user's configuration file to an entry like the zoo's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pssdet.console import ERR
from pssdet.errors import BadInput
from pssdet.models.configuration.node import ConfigErrors, ConfigNode, repr_yaml
from pssdet.models.configuration.preprocessing import sides_of
from pssdet.models.configuration.variant import BLOCKS, Variant, read_dygraph, read_static
from pssdet.models.configuration.yaml_files import BASE, Loaded, Tagged, load
from pssdet.models.labels import COCO, numbered
from pssdet.models.zoo import CLASSIFIERS, ZOO, ZooEntry

#: Keys that only one of the two formats has.
_DYGRAPH_KEYS = (
    *("FasterRCNN.neck", "FasterRCNN.bbox_post_process", "CascadeRCNN.neck", "CascadeRCNN.bbox_post_process"),
    *("RPNHead.anchor_generator", "BBoxPostProcess", "FPN.out_channel", "TwoFCHead.out_channel"),
    *("BBoxHead.roi_extractor", "TrainDataset", "EvalDataset", "TestDataset", "epoch", "snapshot_epoch"),
)
_STATIC_KEYS = (
    *(
        "FasterRCNN.fpn",
        "FasterRCNN.roi_extractor",
        "CascadeRCNN.fpn",
        "CascadeRCNN.roi_extractor",
        "FPNRPNHead",
    ),
    *("FPNRoIAlign", "FPN.num_chan", "TwoFCHead.mlp_dim", "CascadeTwoFCHead.mlp_dim", "ResNet.feature_maps"),
    *("max_iters", "snapshot_iter", "TestReader.dataset"),
)
_COCO_FILE = re.compile(r"(?:.*/)?instances_(?:train|val)2017[.]json")
_OTHER_CASCADE = (
    "; the dygraph CascadeHead has 4 box deltas, clips boxes between stages and averages scores of different"
    " regions, none of which the supported cascade, that of the static format, does"
)
_GUIDE = "docs/configurations.md lists what is understood"


def read_configuration(path: Path) -> ZooEntry:
    """The detector that a PaddleDetection configuration describes, without a checkpoint.

    Its name is the file's; its classes bear numbers unless the configuration says that
    they are COCO's. A test size that is not the one of the evaluation is noted on stderr.

    Raises:
        BadInput: the file cannot be read, or asks for what is not supported or not understood; every
            such key is named. Or it has the name of another model of the zoo.
        EnvironmentMissing: PyYAML is not installed.
    """
    loaded = load(path)
    entry = describe(path, loaded)
    _require_own_name(path, entry)
    if note := evaluated_otherwise(entry, loaded):
        ERR.print(f"  {path}: {note}", style="dim", soft_wrap=True)
    return entry


def describe(path: Path, loaded: Loaded) -> ZooEntry:
    """The same for a configuration that was loaded."""
    values = loaded.values
    errors = ConfigErrors()
    variant = _variant(path, loaded, ConfigNode(errors, ("", values)))
    if found := errors.all():
        raise _refusal(path, found)
    return ZooEntry(
        row=0,
        name=path.stem,
        title=_title(variant),
        checkpoint="",
        published=None,
        **variant._asdict(),
        labels=_labels(values, variant.architecture.num_classes),
    )


def summary(entry: ZooEntry) -> str:
    """One line that tells the user how the file was understood."""
    arch, reader = entry.architecture, entry.preprocessing
    era = "static" if entry.numerics.background == "first" else "dygraph"
    names = "COCO's" if entry.labels == COCO else "numbered"
    dcn = f"DCN in res{', res'.join(map(str, arch.dcn_stages))}" if arch.dcn_stages else "no DCN"
    return (
        f"{era} format, {entry.title}, {dcn}, FPN {arch.fpn_channels}, {arch.post_nms_top_n} proposals,"
        f" {arch.num_classes} classes ({names}), test size {reader.short_side}/{reader.long_side}"
    )


def evaluated_otherwise(entry: ZooEntry, loaded: Loaded) -> str:
    """A note if AP was measured at another size than ``TestReader``'s; else empty."""
    evaluated = sides_of(loaded.values.get("EvalReader"))
    size = entry.preprocessing.short_side, entry.preprocessing.long_side
    if evaluated in ((), size):
        return ""
    return (
        f"EvalReader resizes to {'/'.join(map(repr_yaml, evaluated))}, TestReader to {size[0]}/{size[1]},"
        " which is exported; AP was measured with EvalReader"
    )


def _require_own_name(path: Path, entry: ZooEntry) -> None:
    """Engines and reports know a model by its name, so a variant must not bear that of another one."""
    if entry.name in {each.name for each in CLASSIFIERS} or any(
        entry.name == each.name and _computes(entry) != _computes(each) for each in ZOO
    ):
        raise BadInput(f"{path} describes another model than the zoo's {entry.name}; rename the file")


def _computes(entry: ZooEntry) -> Variant:
    return Variant(entry.architecture, entry.numerics, entry.preprocessing)


def _variant(path: Path, loaded: Loaded, root: ConfigNode) -> Variant:
    """The detector, unless the file is of neither format or of both, or of another detector."""
    values = loaded.values
    dygraph = [key for key in _DYGRAPH_KEYS if _has(values, key)]
    static = [key for key in _STATIC_KEYS if _has(values, key)]
    setting = root.get("architecture")
    supported = ("FasterRCNN", "CascadeRCNN") if static else ("FasterRCNN",)
    if bool(dygraph) == bool(static):
        both = f"mixes the dygraph format ({', '.join(dygraph)}) with the static one ({', '.join(static)})"
        what = (
            both
            if dygraph
            else (
                "is no configuration of a two-stage detector,"
                f" architecture {repr_yaml(values.get('architecture'))}"
            )
        )
        raise BadInput(f"{path} {what}; {_GUIDE}")
    if setting.value not in supported:
        era = "static" if static else "dygraph"
        why = _OTHER_CASCADE if setting.value == "CascadeRCNN" else ""
        setting.refuse(f"in the {era} format {' or '.join(supported)}{why}")
        # The rest of the file describes that other detector.
        raise _refusal(path, root.errors.noted())
    if dygraph:
        return read_dygraph(root)
    if loaded.has_bases:
        root.errors.add(BASE, "is not known to the static program, whose format this is")
    return read_static(root, str(setting.value))


def _refusal(path: Path, found: Sequence[str]) -> BadInput:
    return BadInput(f"{path} cannot be exported: {'; '.join(found)}; {_GUIDE}")


def _has(values: Mapping[str, object], key: str) -> bool:
    section, _, inner = key.partition(".")
    value = values.get(section)
    return section in values and (not inner or (isinstance(value, dict) and inner in value))


def _title(variant: Variant) -> str:
    depth = next(depth for depth, blocks in BLOCKS.items() if blocks == variant.architecture.blocks)
    return f"{'Cascade' if variant.architecture.num_heads > 1 else 'Faster'} R-CNN R{depth}-vd"


def _labels(values: Mapping[str, object], count: int) -> tuple[str, ...]:
    """COCO's names for 80 classes of COCO's own annotations; numbers otherwise."""
    files = [name for name in _annotations(values) if name is not None]
    coco = all(isinstance(name, str) and _COCO_FILE.fullmatch(name) for name in files)
    if coco and values.get("metric") == "COCO" and count == len(COCO):
        return COCO
    return numbered(count)


def _annotations(values: Mapping[str, object]) -> list[object]:
    """The annotation files that the configuration names, in either format."""
    readers = [values.get(f"{use}Reader") for use in ("Train", "Eval", "Test")]
    data = [values.get(f"{use}Dataset") for use in ("Train", "Eval", "Test")]
    data += [reader.get("dataset") for reader in readers if isinstance(reader, dict)]
    plain = [each.value if isinstance(each, Tagged) else each for each in data]
    return [each.get("anno_path") for each in plain if isinstance(each, dict)]
