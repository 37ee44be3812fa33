"""Every single value and every single key of whole configurations is changed: the error must name it.

Only what the code lists as irrelevant may change unnoticed, and the guide must tell of that.
"""

import copy
import math
import re
from pathlib import Path

import pytest
from configurations import ALL, CASCADE, DYGRAPH, varied

from pssdet.errors import BadInput
from pssdet.models.configuration import preprocessing, variant, zoo_entry
from pssdet.models.configuration.node import ConfigErrors, ConfigNode
from pssdet.models.configuration.yaml_files import Loaded, Tagged
from pssdet.models.configuration.zoo_entry import describe

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "configurations.md"


def error_of(path, values):
    """The error of a configuration; empty if there is none."""
    try:
        describe(path, Loaded(values, has_bases=False))
    except BadInput as error:
        return str(error)
    return ""


def leaves(value, place=()):
    """The path of every value that is neither a mapping nor tagged, and of every step of a reader."""
    value = value.value if isinstance(value, Tagged) else value
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*place, key))
    elif isinstance(value, list) and any(isinstance(each, dict | Tagged) for each in value):
        for index, each in enumerate(value):
            yield from leaves(each, (*place, index))
    else:
        yield place


def inside(value, place):
    for key in place:
        value = value.value if isinstance(value, Tagged) else value
        value = value[key]
    return value.value if isinstance(value, Tagged) else value


#: Inside sections that matter: what only training reads, what the originals derive themselves or never use,
#: what only says how pictures are fetched.
LISTED = {
    *(
        "freeze_at",
        "lr_mult_list",
        "bbox_loss",
        "batch_size",
        "batch_size_per_im",
        "fg_thresh",
        "shuffle",
        "fields",
    ),
    *("with_mixup", "anno_path"),
    *("in_channels", "stride"),
}


def is_listed(path, place):
    irrelevant = variant.DYGRAPH_IRRELEVANT if path == DYGRAPH else variant.STATIC_IRRELEVANT
    if place[0] in irrelevant and not (path == CASCADE and place[0] == "CascadeBBoxAssigner"):
        return True
    if place[0] == "FPNRPNHead" and place[-1] == "anchor_sizes":
        return True
    if place[-1] == "bbox_assigner" and path != CASCADE:
        return True
    return place[-1] in LISTED or place[1:2] in (("rpn_target_assign",), ("train_proposal",))


@pytest.mark.parametrize("path", ALL)
def test_no_value_is_passed_over(path):
    values = varied(path).values
    places = [place for place in leaves(values) if not is_listed(path, place)]
    assert len(places) > 35
    for place in places:
        changed = copy.deepcopy(values)
        inside(changed, place[:-1])[place[-1]] = "nonsense"
        assert str(place[-1]) in error_of(path, changed), place


@pytest.mark.parametrize("path", ALL)
def test_no_key_is_passed_over(path):
    values = varied(path).values
    irrelevant = variant.DYGRAPH_IRRELEVANT if path == DYGRAPH else variant.STATIC_IRRELEVANT
    places = {place[:depth] for place in leaves(values) for depth in range(1, len(place) + 1)}
    places = [place for place in places if isinstance(place[-1], str)]
    places = [place for place in places if place[0] not in irrelevant or len(place) == 1]
    assert len(places) > 55
    for place in places:
        if place[1:2] in (("rpn_target_assign",), ("train_proposal",)) and len(place) > 2:
            continue
        if place == ("architecture",) or (place[:2] == ("TestReader", "dataset") and len(place) > 2):
            continue
        changed = copy.deepcopy(values)
        holder = inside(changed, place[:-1])
        holder[f"{place[-1]}_x"] = holder.pop(place[-1])
        assert f"{place[-1]}_x" in error_of(path, changed)


def with_value(values, place, odd):
    """The values with an odd one at a place as errors tell it, which passes over the numbers of steps."""
    changed = copy.deepcopy(values)
    holder, (*outer, last) = changed, place.split(".")
    for key in outer:
        if isinstance(holder, list):
            steps = [each[key] for each in holder if isinstance(each, dict) and key in each]
            steps += [each.value for each in holder if isinstance(each, Tagged) and each.tag == f"!{key}"]
            (holder,) = steps
            continue
        if not isinstance(holder.get(key), dict | list):
            holder[key] = {}
        holder = holder[key]
    holder[last] = odd
    return changed


@pytest.mark.parametrize("path", ALL)
def test_no_key_that_is_read_takes_anything(path, monkeypatch):
    """Those that the file leaves out as well: each is put there, with a value that cannot be right."""
    places = []
    get = ConfigNode.get

    def recording(self, key, *default, **named):
        setting = get(self, key, *default, **named)
        places.append(setting.place)
        return setting

    values = varied(path).values
    with monkeypatch.context() as patch:
        patch.setattr(ConfigNode, "get", recording)
        assert error_of(path, values) == ""
    tolerant = {"bbox_assigner", "bbox_loss", "dataset"} - ({"bbox_assigner"} if path == CASCADE else set())
    # At the top of the file it only counts where ResNet's own does not.
    tolerated_places = {"norm_type"} if path == DYGRAPH else set()
    read = [place for place in dict.fromkeys(places) if place.rpartition(".")[2] not in tolerant]
    read = [place for place in read if place not in tolerated_places]
    assert len(read) > 60
    for place in read:
        assert place.rpartition(".")[2] in error_of(path, with_value(values, place, "nonsense")), place


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize(
    "odd", [None, True, -1, 1 << 40, math.nan, math.inf, "", [], [[]], {}, Tagged("!X", {}), "x" * 500]
)
def test_no_odd_value_is_more_than_refused(path, odd):
    values = varied(path).values
    for place in leaves(values):
        changed = copy.deepcopy(values)
        inside(changed, place[:-1])[place[-1]] = odd
        message = error_of(path, changed)
        assert "\n" not in message
        assert len(message) < 2500


def words(text):
    """What the text names as code, whole or in parts."""
    return set(re.findall(r"[A-Za-z_0-9]+", " ".join(re.findall(r"`([^`]+)`", text))))


def test_the_guide_names_every_key():
    """Each where one looks: in the section of its format, or in the right entry of those that do not matter."""
    sections = {each.partition("\n")[0]: each for each in GUIDE.read_text().split("\n## ")}
    entries = sections["Keys that do not matter"].split("\n- ")[1:]
    everywhere = set().union(*(words(entry) for entry in entries if "at the top" not in entry))
    for start, keys in (
        ("Dygraph, at the top", variant.DYGRAPH_IRRELEVANT),
        ("Static, at the top", variant.STATIC_IRRELEVANT),
        ("How pictures are fetched", preprocessing.FETCHING),
    ):
        (entry,) = (entry for entry in entries if entry.startswith(start))
        assert set(keys) <= words(entry), set(keys) - words(entry)
        if keys is not preprocessing.FETCHING:
            sections[start] = entry
    for path in ALL:
        era = "Dygraph" if path == DYGRAPH else "Static"
        guide = words(sections[f"{era} format"]) | words(sections[f"{era}, at the top"]) | everywhere
        errors = ConfigErrors()
        loaded = varied(path)
        zoo_entry._variant(path, loaded, ConfigNode(errors, ("", loaded.values)))
        asked = set().union(*(node._read for node in errors._nodes))
        assert asked - {"MyAssigner"} <= guide, asked - guide
