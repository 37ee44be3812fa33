"""Write the tables of the names that we use of TensorRT's and cuda-bindings' Python API, from their sources.

    python tests/api_tables/extract.py tensorrt CHECKOUT
    python tests/api_tables/extract.py cuda FOLDER...

CHECKOUT is a clone of github.com/NVIDIA/TensorRT with its tags, which are read from ``v8.6.0`` on.
Each FOLDER has one version of cuda-bindings, from ``pip install --target FOLDER cuda-bindings==VERSION``.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "tests" / "fakes")]

from api_tables import check, stand_ins  # noqa: E402
from api_tables.pybind import Api, documented  # noqa: E402
from api_tables.table import CUDA, TENSORRT, as_text  # noqa: E402
from api_tables.uses import RESULTS, cuda_uses_of, uses_of  # noqa: E402

from pssdet.errors import BadInput  # noqa: E402
from pssdet.files import write_atomically  # noqa: E402

FIRST = (8, 6, 0)
_READ = ("VERSION", "python/src", "python/docstrings", "python/packaging")
#: Prints what each name of a list is in the cuda-bindings of this Python, by their docstrings.
_ASK_CUDA = """
import json, sys
from cuda.bindings import __version__, runtime
found = {}
for name in json.load(sys.stdin):
    value = runtime
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is not None:
        kind = "class" if isinstance(value, type) else (value.__doc__ or "").partition("\\n")[0]
        found[name] = kind if callable(value) else "value"
print(json.dumps([__version__, found]))
"""


def tensorrt_names():
    """The names that the product and the stand-ins use."""
    used = {use.name for use in uses_of(check.sources()).uses}
    guards = {name.removeprefix("!") for name in check.REACHED_WITH.values()}
    return used | guards | stand_ins.names() | RESULTS.keys()


def cuda_names():
    """The same of cuda-bindings."""
    return {use.name for use in cuda_uses_of(check.sources())} | stand_ins.cuda_names()


def tensorrt_table(checkout, names):
    """What each name is, by version: the text of the table."""
    found = {}
    tags = [tag for tag in _git(checkout, "tag").decode().split() if re.fullmatch(r"v[\d.]+", tag)]
    later = sorted((tag for tag in tags if _numbers(tag) >= FIRST), key=_numbers)
    if not later or _numbers(later[0]) != FIRST:
        raise BadInput(
            f"{checkout} lacks the tags from v8.6.0 on; clone github.com/NVIDIA/TensorRT with all tags"
        )
    for tag in later:
        version, api = _api(checkout, tag)
        # A tag may have the sources of an earlier version: v9.2.0 has those of 8.6.1.
        if version not in found:
            found[version] = {name: what for name in names if (what := api.lookup(name)) is not None}
    return as_text(found)


def _git(checkout, *arguments):
    done = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise BadInput(f"git {arguments[0]} in {checkout}: {done.stderr.decode().strip()}")
    return done.stdout


def _numbers(text):
    return tuple(map(int, re.findall(r"\d+", text)))


def _api(checkout, tag):
    """The version whose sources a tag has, and its names."""
    packed = io.BytesIO(_git(checkout, "archive", "--format=tar", tag, *_READ))
    with tarfile.open(fileobj=packed) as archive:
        files = {each.name: archive.extractfile(each).read().decode() for each in archive if each.isfile()}
    documents = {}
    for name, text in files.items():
        if name.endswith("Doc.h"):
            documents |= documented(text)
    api = Api()
    for name, text in files.items():
        if name.endswith(".cpp"):
            api.read(text, documents)
        elif name.endswith("tensorrt/__init__.py"):
            for each in re.findall(r"^(\w+) = ", text, re.MULTILINE):
                api.add_value(each)
    return ".".join(map(str, _numbers(files["VERSION"])[:3])), api


def cuda_table(folders, names):
    """What each name is, by version: the text of the table."""
    found = {}
    for folder in folders:
        if not (Path(folder) / "cuda" / "bindings").is_dir():
            raise BadInput(f"there is no cuda-bindings in {folder}; pip install --target puts it there")
        done = subprocess.run(
            [sys.executable, "-c", _ASK_CUDA],
            input=json.dumps(sorted(names)),
            env=os.environ | {"PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BadInput(f"cuda-bindings in {folder}: {done.stderr.strip().splitlines()[-1]}")
        version, said = json.loads(done.stdout)
        found[version] = {
            name: what if what in {"class", "value"} else [signature(what)] for name, what in said.items()
        }
    return as_text(dict(sorted(found.items(), key=lambda item: _numbers(item[0]))))


def signature(described):
    """The parameters of ``cudaMalloc(size_t size)`` without types; Cython takes all of them by keyword, too."""
    taken = re.fullmatch(r"\w+\((.*)\)", described)[1]
    parts = [
        re.split(r"=|:| not None", each)[0].split()[-1] + "=" * ("=" in each)
        for each in taken.split(",")
        if each
    ]
    return f"({', '.join(parts)})"


def main(what="", *given):
    """Write one table, and say what is in no version: a mistake, or our own method in a derived class."""
    if what == "tensorrt" and len(given) == 1:
        names, target = tensorrt_names(), TENSORRT
        text = tensorrt_table(*given, names)
    elif what == "cuda" and given:
        names, target = cuda_names(), CUDA
        text = cuda_table(given, names)
    else:
        raise BadInput("usage: extract.py tensorrt CHECKOUT, or extract.py cuda FOLDER...")
    write_atomically(target, text.encode())
    listed = json.loads(text)["names"]
    print(f"{target.relative_to(ROOT)}: {len(listed)} names; in no version: {sorted(names - listed.keys())}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
