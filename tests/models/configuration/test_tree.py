"""YAML as untrusted input: what PyYAML would read, and what it must never do."""

import time

import pytest
import yaml
from checkpoint_parts import peak_of

from pssdet.models.configuration.yaml_files import MAX_DEPTH, MAX_VALUES, BadYaml, Tagged, parse

SCALARS = (
    *("1", "-7", "+3", "0x1f", "010", "1_000", "0b11", "1:30"),
    *("0.05", "1e-3", "1.0e-3", "1.e+3", ".5", "-.inf", "1_0.5", "1:30.5"),
    *(
        "yes",
        "No",
        "true",
        "FALSE",
        "on",
        "y",
        "~",
        "null",
        "",
        "'1'",
        '"0.5"',
        "text",
        "a b",
        "!!str 5",
        "!!int '7'",
    ),
    *(
        "!!float 3",
        "! 5",
        "bn",
        "d",
        "[1, 2.5, x]",
        "{a: 1, b: [c]}",
        "|\n  two\n  lines",
        "!!map {a: 1}",
        "!!seq [1]",
    ),
)


@pytest.mark.parametrize("text", SCALARS)
def test_values_are_those_of_pyyaml(text):
    found, expected = parse(f"key: {text}")["key"], yaml.safe_load(f"key: {text}")["key"]
    assert (found, type(found)) == (expected, type(expected))


def test_mappings_are_those_of_pyyaml():
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, x: 9}\nd: {<<: [*a, *b], w: 0}\n"
    text += "e: [*a, *a]\nf: 1\nf: 2\n"
    assert parse(text) == yaml.safe_load(text)
    assert parse("- 1\n- {a: }\n") == yaml.safe_load("- 1\n- {a: }\n")


def test_what_no_setting_needs_stays_text():
    assert parse("key: 2021-03-04")["key"] == "2021-03-04"
    assert parse("key: =")["key"] == "="


def test_tags_are_only_names():
    text = "a: !Resize {size: 3}\nb: !ImageFolder\n  anno: x\nc: !Permute\nd: !Steps [1]\n"
    assert parse(text) == {
        "a": Tagged("!Resize", {"size": 3}),
        "b": Tagged("!ImageFolder", {"anno": "x"}),
        "c": Tagged("!Permute", ""),
        "d": Tagged("!Steps", [1]),
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch executed']",
        "a: !!python/object/new:os.system [touch executed]",
        "a: !!python/name:os.system ''",
        "a: !!python/module:os",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['touch executed']",
        "a: !!binary aGVsbG8=",
        "a: !!set {x, y}",
        "a: !!omap [x: 1]",
        "a: !!int {x: 1}",
        "a: !!str [x]",
    ],
)
def test_tags_that_make_something_are_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadYaml, match="tag"):
        parse(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: [1, 2", "line 1"),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: \x07", "characters"),
        ("1: a", "line 1 that is not text"),
        ("a: 1\n? [b]\n: 2\n", "line 2 that is not text"),
        ("a: {yes: 1}", "not text"),
        ("a: *b", r"\*b where it is not defined"),
        ("a: &a [*a]", "not defined yet"),
        ("a: {<<: 5}", "not a mapping"),
        ("a: !!int x", "no int"),
        ("a: !!bool maybe", "no bool"),
        ("a: 0x_", "no int"),
        ("a: " + "9" * 5000, "no int"),
        ("a: " + "9" * 5000 + ".0", "no float"),
        ("a: \t- b", "line 1"),
        ("a: @b", "line 1"),
    ],
)
def test_what_is_wrong_is_said(text, words):
    with pytest.raises(BadYaml, match=words) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def _laughs(levels, width):
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "laughs": _laughs(12, 10),
    "laughing mappings": "\n".join(
        ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 30))]
    ),
    "merged laughs": "a: &a {x: 1}\n" + "b: {<<: [" + ", ".join(["*a"] * MAX_VALUES) + "]}",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 30_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(400)),
    "deep dashes": "- " * 50_000,
    "deep questions": "? " * 50_000,
    "many keys": "\n".join(f"k{i}: 1" for i in range(MAX_VALUES)),
    "many items": "a: [" + "1," * 60_000 + "]",
    "long text": "a: " + "x" * 120_000,
    "long quoted": 'a: "' + "\\x41" * 30_000 + '"',
    "comments": "#" * 120_000,
    "anchors": "\n".join(f"k{i}: &n{i} {{}}" for i in range(8_000)),
    "open quote": "a: '" + "x\n" * 50_000,
}


def _refused_or_small(text):
    try:
        value = parse(text)
    except BadYaml as error:
        return len(str(error)) < 300
    return len(value) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_cost_little_time(name):
    started = time.process_time()
    assert _refused_or_small(HOSTILE[name])
    assert time.process_time() - started < 5  # a tenth of a second; a bomb takes for ever


@pytest.mark.parametrize("name", ["laughs", "laughing mappings", "deep dashes"])
def test_hostile_texts_cost_little_memory(name):
    assert peak_of(lambda: _refused_or_small(HOSTILE[name])) < 20 << 20


def test_the_limits_are_far_from_what_is_used():
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    parse(deep)
    with pytest.raises(BadYaml, match="deep"):
        parse(f"[{deep}]")
    assert parse("a: &a [1, 2]\n" + "\n".join(f"b{i}: *a" for i in range(1000)))["b999"] == [1, 2]
