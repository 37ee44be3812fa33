"""The images of docker/, beyond hadolint: versions, the user, what is installed when, whether parts fit."""

import re
from pathlib import Path

import pytest

from pssdet.plugins.bindings.tensorrt_headers import headers_tag

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
IMAGES = {path.stem: path.read_text() for path in sorted(DOCKER.glob("*.Dockerfile"))}
REQUIREMENTS = {path.stem: path.read_text() for path in sorted((DOCKER / "requirements").glob("*.txt"))}
INSTALLS = re.compile(r"\b(pip|apt-get|git|make|curl|wget)\b")


def instructions(text):
    """Name and arguments of each instruction: comments left out, continued lines joined."""
    code = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in code.splitlines() if line.strip()]


def faults(text):
    """What is against the rules in a Dockerfile."""
    steps = instructions(text)
    images = [rest.split()[0] for name, rest in steps if name == "FROM"]
    found = [
        f"{image} has no full version" for image in images if not re.search(r":(.*-)?\d+\.\d+\.\d+\b", image)
    ]
    found += [f"ADD {rest}" for name, rest in steps if name == "ADD"]
    last = steps[max(index for index, (name, _) in enumerate(steps) if name == "FROM") :]
    users = [rest for name, rest in last if name == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append("the user is not a number above 0")
    found += [f"the last stage: {rest}" for name, rest in last if name == "RUN" and INSTALLS.search(rest)]
    return found


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_the_rules(name):
    assert faults(IMAGES[name]) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("python:3.12.11-slim-bookworm", "python:3.12-slim", "python:3.12-slim has no full version"),
        ("12.4.1-devel-ubuntu22.04", "devel-ubuntu22.04", "nvidia/cuda:devel-ubuntu22.04 has no full version"),
        ("COPY Makefile ./", "ADD https://example.com/a.tar /a", "ADD https://example.com/a.tar /a"),
        ("USER 1000:1000", "", "the user is not a number above 0"),
        ("USER 1000:1000", "USER 0:0", "the user is not a number above 0"),
        ("WORKDIR /data\n", "RUN pip install numpy==1.26.4\n", "the last stage: pip install numpy==1.26.4"),
    ],
)
def test_what_breaks_a_rule_is_found(old, new, fault):
    assert old in IMAGES["v100"]
    assert fault in faults(IMAGES["v100"].replace(old, new))


def test_each_image_has_its_requirements():
    assert {*IMAGES, "build"} == set(REQUIREMENTS)
    for name, text in IMAGES.items():
        used = re.findall(r"--requirement docker/requirements/(\S+)\.txt", text)
        assert used == ["build", name]
        assert f"docker build --file docker/{name}.Dockerfile --tag pssdet:{name} ." in text


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_requirement_has_one_version(name):
    lines = [
        line for line in REQUIREMENTS[name].splitlines() if not line.startswith(("#", "--extra-index-url "))
    ]
    assert [line for line in lines if not re.fullmatch(r"[a-z][\w-]*==[\w.]+", line)] == []


@pytest.mark.parametrize("name", IMAGES)
def test_the_plugins_serve_the_tensorrt_that_is_installed(name):
    tags = set(re.findall(r"build/tensorrt/([\w.]+)", IMAGES[name]))
    installed = set(re.findall(r"^tensorrt[a-z0-9-]*==(.+)$", REQUIREMENTS[name], re.MULTILINE))
    assert len(installed) == 1
    assert tags == {headers_tag(*installed)}


def test_the_sources_that_an_image_copies_reach_the_build():
    kept = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert {each for each in kept if not (ROOT / each).exists()} == set()
    links = {path.resolve().name for path in (ROOT / "src" / "pssdet").iterdir() if path.is_symlink()}
    assert links < kept
    for text in IMAGES.values():
        copied = {rest.split()[0].rstrip("/") for name, rest in instructions(text) if name == "COPY"}
        assert copied - {"--from=packages", "--from=plugins", "."} <= kept
