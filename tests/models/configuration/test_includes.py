"""Files that include each other, merged as PaddleDetection merges them; endless, missing and foreign ones."""

import os
import re

import pytest
import yaml

from pssdet.errors import BadInput
from pssdet.models.configuration.yaml_files import MAX_BASES_DEEP, MAX_BYTES, MAX_FILES, Tagged, load, merge


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder / "top.yml"


def refusal(path):
    with pytest.raises(BadInput) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def paddledetections_merge(values, bases):
    """Each base over those before it, then the file: ``dict_merge`` of its workspace, in our words."""

    def put(target, source):
        for key, value in source.items():
            if isinstance(target.get(key), dict) and isinstance(value, dict):
                put(target[key], value)
            else:
                target[key] = value

    whole = {}
    for each in (*bases, values):
        put(whole, yaml.safe_load(each))
    return whole


BASES = (
    "A: {x: 1, y: {p: 1, q: [1, 2]}}\nB: text\nC: {only: base}\n",
    "A: {y: {q: [3]}, z: null}\nB: {now: a mapping}\nD: 5\n",
)
TOP = "A: {x: null, y: {r: 4}}\nC: scalar\nD: {k: 1}\n"


def test_later_files_count_and_mappings_merge(tmp_path):
    path = write(tmp_path, top=f"_BASE_: [one.yml, two.yml]\n{TOP}", one=BASES[0], two=BASES[1])
    loaded = load(path)
    assert loaded.has_bases
    assert loaded.values == paddledetections_merge(TOP, BASES)
    assert loaded.values["A"] == {"x": None, "y": {"p": 1, "q": [3], "r": 4}, "z": None}


def test_bases_have_bases_found_from_their_own_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", one="_BASE_: ['../two.yml']\nA: {x: one}\n")
    path = write(tmp_path, top="_BASE_: deep/one.yml\nB: 1\n", two="A: {x: two, y: two}\n")
    assert load(path).values == {"A": {"x": "one", "y": "two"}, "B": 1}


def test_absolute_and_home_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path, top=f"_BASE_: ['{tmp_path}/one.yml', '~/two.yml']\n", one="A: 1\n", two="B: 2\n")
    assert load(path).values == {"A": 1, "B": 2}


def test_the_same_base_twice_is_no_circle(tmp_path):
    path = write(
        tmp_path, top="_BASE_: [a.yml, b.yml]", a="_BASE_: [c.yml]\nA: 1", b="_BASE_: [c.yml]", c="A: 0\nC: 3"
    )
    assert load(path).values == {"A": 0, "C": 3}


def test_tagged_mappings_are_replaced_whole(tmp_path):
    path = write(
        tmp_path, top="_BASE_: [one.yml]\nD: !Set {b: 2}\nE: {b: 2}\n", one="D: !Set {a: 1}\nE: !Set {a: 1}\n"
    )
    assert load(path).values == {"D": Tagged("!Set", {"b": 2}), "E": {"b": 2}}


def test_a_reader_lies_below_its_file(tmp_path):
    path = write(
        tmp_path,
        top="_READER_: one.yml\nTestReader: {size: 2}\nA: 1\n",
        one="TestReader: {size: 1, n: 1}\nA: 0\n",
    )
    loaded = load(path)
    assert loaded.values == {"TestReader": {"size": 2, "n": 1}, "A": 1}
    assert not loaded.has_bases


def test_an_include_that_does_not_belong_stays_to_be_named(tmp_path):
    assert "_READER_" in load(write(tmp_path, top="_BASE_: [one.yml]\n", one="_READER_: two.yml\n")).values
    assert "_BASE_" in load(write(tmp_path, top="_READER_: one.yml\n", one="_BASE_: [two.yml]\n")).values


def test_merging_changes_neither():
    below, above = {"A": {"x": 1}}, {"A": {"y": 2}}
    assert merge(below, above) == {"A": {"x": 1, "y": 2}}
    assert (below, above) == ({"A": {"x": 1}}, {"A": {"y": 2}})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"top": "_BASE_: [top.yml]"}, "includes itself by _BASE_ (top.yml -> top.yml)"),
        (
            {"top": "_BASE_: [a.yml]", "a": "_BASE_: [b.yml]", "b": "_BASE_: [./a.yml]"},
            "(a.yml -> b.yml -> a.yml)",
        ),
        ({"top": "_BASE_: [absent.yml]"}, "absent.yml, which _BASE_ of"),
        ({"top": "_BASE_: [a.yml]", "a": "_BASE_: [absent.yml]"}, "a.yml names does not exist"),
        ({"top": "_READER_: absent.yml"}, "which _READER_ of"),
        ({"top": "_BASE_: [5]"}, "must name files"),
        ({"top": "_BASE_: {a: b}"}, "must name files"),
        ({"top": "_BASE_: ['']"}, "must name files"),
        ({"top": '_BASE_: ["a\\0b"]'}, "must name files"),
        ({"top": "_BASE_: null"}, "must name files"),
        ({"top": "_READER_: [a.yml]"}, "must name files"),
        ({"top": "_BASE_: [/dev/zero]"}, "not a regular file"),
        ({"top": "_BASE_: [.]"}, "not a regular file"),
        ({"top": "_BASE_: ['~nobody-of-that-name/a.yml']"}, "home folder"),
        ({"top": "_BASE_: [a.yml]", "a": "- a list"}, "holds no keys"),
        ({"top": "just text"}, "holds no keys"),
        ({"top": "A: [", "a": ""}, "is not YAML in line 1"),
        ({"top": "_BASE_: [a.yml]", "a": "A: !!python/name:os.system ''"}, "tag !!python"),
        ({"top": "_BASE_: [" + "x" * 300 + "]"}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, files, words):
    assert words in refusal(write(tmp_path, **files))


def test_files_that_are_none(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.yml")
    assert "not a regular file" in refusal(tmp_path)
    (tmp_path / "latin.yml").write_bytes("A: Größe\n".encode("latin-1"))
    assert "UTF-8" in refusal(tmp_path / "latin.yml")
    os.mkfifo(tmp_path / "pipe.yml")
    assert "not a regular file" in refusal(tmp_path / "pipe.yml")


def test_a_byte_order_mark_and_chinese_are_fine(tmp_path):
    (tmp_path / "top.yml").write_bytes(b"\xef\xbb\xbf" + "# 注释\nA: 螺栓\n".encode())
    assert load(tmp_path / "top.yml").values == {"A": "螺栓"}


def test_depth_count_and_size_are_bounded(tmp_path):
    for level in range(MAX_BASES_DEEP + 2):
        (tmp_path / f"b{level}.yml").write_text(f"_BASE_: [b{level + 1}.yml]\n")
    assert "files deep" in refusal(tmp_path / "b0.yml")
    (tmp_path / f"b{MAX_BASES_DEEP}.yml").write_text("A: 1\n")
    assert load(tmp_path / "b0.yml").values == {"A": 1}

    # Each names the next one twice: two files to the power of the depth.
    for level in range(7):
        (tmp_path / f"d{level}.yml").write_text(f"_BASE_: [d{level + 1}.yml, d{level + 1}.yml]\n")
    (tmp_path / "d7.yml").write_text("A: 1\n")
    assert re.search(rf"one file too many.*{MAX_FILES}", refusal(tmp_path / "d0.yml"))

    (tmp_path / "large.yml").write_text("#" * MAX_BYTES + "\nA: 1\n")
    assert "too large" in refusal(tmp_path / "large.yml")
    half = "#" * (MAX_BYTES // 2) + "\nA: 1\n"
    path = write(tmp_path, top="_BASE_: [one.yml, two.yml]", one=half, two=half)
    assert "too large" in refusal(path)
