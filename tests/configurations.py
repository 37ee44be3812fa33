"""The configurations of ``data/configs`` and variations of them."""

from pathlib import Path

import yaml

from pssdet.models.configuration.yaml_files import Loaded, Tagged, load, merge, parse
from pssdet.models.configuration.zoo_entry import describe

CONFIGS = Path(__file__).resolve().parent / "data" / "configs"
DYGRAPH = CONFIGS / "dygraph" / "faster_parts.yml"
FASTER = CONFIGS / "static" / "faster_parts.yml"
CASCADE = CONFIGS / "static" / "cascade_parts.yml"
ALL = (DYGRAPH, FASTER, CASCADE)


def varied(path, changes="{}"):
    """A configuration with changes, which are YAML, merged over it."""
    return Loaded(merge(load(path).values, parse(changes)), has_bases=False)


def read_varied(path, changes="{}"):
    return describe(path, varied(path, changes))


def write_varied(path, changes, folder):
    """The same as one file of its own."""
    target = folder / "varied.yml"
    target.write_text(yaml.dump(varied(path, changes).values, Dumper=_Dumper))
    return target


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Tagged, lambda dumper, each: dumper.represent_mapping(each.tag, each.value))
