"""What a build would give to TensorRT, written without a GPU: network, settings and the line for trtexec."""

import json
import os
import subprocess

import onnx
import pytest
from fake_trt_machine import tensorrt_machine
from golden_files import pssdet
from parser_operators import unsupported

from pssdet.engines.backends.tensorrt_network import TensorRTOptions, write_network
from pssdet.errors import BadInput, GateFailed
from pssdet.files import sha256_of
from pssdet.models import stages
from pssdet.models.card import read_engine_card, read_model_card
from pssdet.models.stages import tap_names

#: A TensorRT, a precision, the route to write and the one that this is.
ROUTES = pytest.mark.parametrize(
    ("version", "precision", "asked", "route"),
    [
        ("8.6.0", "fp32", None, "plain"),
        ("8.6.0", "fp16", "flags", "flags"),
        ("10.4.0", "fp16", None, "typed"),
        ("11.1.0", "fp16", "typed", "typed"),
        ("10.4.0", "fp32", "typed", "typed"),
    ],
)


@pytest.fixture
def machine(monkeypatch, tmp_path, mini_folder):
    return tensorrt_machine(monkeypatch, tmp_path, mini_folder)


@pytest.fixture
def write(mini_folder, tmp_path):
    def write(precision="fp16", **options):
        chosen = TensorRTOptions(**options)
        write_network(mini_folder, precision, chosen, tmp_path / "network", lambda _: None)
        return json.loads((tmp_path / "network" / "settings.json").read_text())

    return write


@ROUTES
def test_the_network_and_the_settings_are_those_of_a_build(
    machine, write, tmp_path, version, precision, asked, route
):
    machine.have(version)
    card = read_engine_card(machine.build(precision=precision, precision_route=asked))
    told = write(precision, precision_route=asked)
    network = tmp_path / "network" / "network.onnx"
    assert network.read_bytes() == machine.trt.network.model.SerializeToString()
    assert told["network"] == {"file": "network.onnx", "sha256": sha256_of(network)}
    assert told["route"] == route
    assert machine.trt.network.typed == (route == "typed" or version.startswith("11"))
    flags = {flag.name for flag in machine.trt.config.flags}
    assert (flags, told["cleared_flags"]) == (set(told["flags"]), ["TF32"])
    assert told["profiles"] == machine.trt.config.profiles
    held = told["held_to_float32"]
    recorded = {name: list(nodes) for name, nodes in card.layers.held.items()}
    expected = {"computes in float32": held["computed"], "moves float32": held["moved"], **held["exempt"]}
    assert {name: nodes for name, nodes in expected.items() if nodes} == recorded
    assert told["recipe"] == (list(card.recipe.fp32) if card.recipe else [])


@ROUTES
def test_every_parser_takes_it(write, tmp_path, version, precision, asked, route):
    write(precision, precision_route=asked)
    model = onnx.load(tmp_path / "network" / "network.onnx")
    assert unsupported(model) == []


def test_stages_are_outputs_of_the_graph(write, tmp_path, mini_folder):
    told = write(stages=True)
    model = onnx.load(tmp_path / "network" / "network.onnx")
    taps = tap_names(read_model_card(mini_folder).architecture)
    assert set(taps) <= {output.name for output in model.graph.output}
    assert told["stages"] == list(taps)
    assert all(output.type.tensor_type.elem_type for output in model.graph.output)


def test_a_stage_that_the_graph_lacks_is_said_as_in_a_build(write, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "tap_names", lambda architecture: ("c2", "c9"))
    with pytest.raises(GateFailed, match="no tensor called c9"):
        write(stages=True)
    assert not (tmp_path / "network").exists()


def test_the_script_gives_trtexec_its_line(write, tmp_path):
    told = write(precision_route="flags")
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$TOLD"\npwd >> "$TOLD"\n')
    program.chmod(0o755)
    (tmp_path / "plugins.so").touch()
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        "PSSDET_PLUGINS": "plugins.so",
    }
    script = tmp_path / "network" / "trtexec.sh"
    subprocess.run([script], env=environment, cwd=tmp_path, check=True, timeout=60)
    *given, folder = (tmp_path / "told").read_text().splitlines()
    assert folder == str(tmp_path / "network")
    assert f"--dynamicPlugins={tmp_path / 'plugins.so'}" in given
    assert {"--onnx=network.onnx", "--fp16", "--precisionConstraints=obey"} <= set(given)
    assert len(given) == told["trtexec"].count(" --")
    del environment["PSSDET_PLUGINS"]
    done = subprocess.run(
        [script], env=environment, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "PSSDET_PLUGINS: names libpssdet_plugins.so" in done.stderr


def test_options_are_checked_as_for_a_build(write, tmp_path):
    with pytest.raises(BadInput, match="version-compatible engines only"):
        write(plugins_in_plan=True)
    assert not (tmp_path / "network").exists()


class TestCommand:
    def run(self, mini_folder, tmp_path, *options):
        words = ["build", "--model", str(mini_folder), "--write-network", "out", *options]
        return pssdet(*words, folder=tmp_path)

    def test_no_gpu_is_needed(self, mini_folder, tmp_path):
        done = self.run(mini_folder, tmp_path, "--fp16", "--opt-shapes", "1x64x64")
        assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
        assert "trtexec.sh there builds the plan where TensorRT is" in done.stdout.replace("\n", " ")
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "network.onnx",
            "settings.json",
            "trtexec.sh",
        }

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (("--backend", "onnxruntime"), "--write-network is for TensorRT"),
            (("--json",), "builds nothing"),
            (("--bf16",), "does not offer bf16"),
            (("--precision-route", "flags"), "is for --fp16 and --int8"),
        ],
    )
    def test_what_does_not_go_with_it(self, mini_folder, tmp_path, options, reason):
        done = self.run(mini_folder, tmp_path, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr.replace("\n", " ")
        assert not (tmp_path / "out").exists()
