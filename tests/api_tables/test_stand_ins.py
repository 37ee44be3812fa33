"""The stand-ins for TensorRT and CUDA's runtime, held to the tables of the real API; planted faults."""

from types import SimpleNamespace

import fake_trt_build
import pytest
from api_tables import check, stand_ins
from api_tables.table import CUDA, TENSORRT, Table
from api_tables.uses import uses_of
from fake_cuda import FakeCuda

TABLE = Table.load(TENSORRT)
CUDA_TABLE = Table.load(CUDA)


@pytest.mark.parametrize(("stand_in", "owner", "versions"), stand_ins.CLASSES)
def test_a_class_has_the_parameters_of_the_real_one(stand_in, owner, versions):
    assert stand_ins.class_problems(stand_in, owner, versions, TABLE) == []


def test_the_modules_have_the_names_of_their_versions():
    for version, module in stand_ins.modules():
        assert stand_ins.module_problems(module, version, TABLE) == []


def test_the_cuda_runtime():
    assert stand_ins.cuda_problems(FakeCuda, CUDA_TABLE) == []


@pytest.mark.parametrize("version", stand_ins.VERSIONS)
def test_a_builder_answers_probes_as_its_version_does(version):
    """Of the names that the product asks for, a stand-in has those that its version has, and no others."""
    module = fake_trt_build.FakeTensorRT(version)
    probes = {use.name for use in uses_of(check.sources()).uses if use.how == "probe" and "/plan/" in use.place}
    assert len(probes) > 8
    for name in probes:
        owner, _, member = name.rpartition(".")
        if not owner or hasattr(module, owner):
            assert hasattr(getattr(module, owner, module), member) == (TABLE.get(name, version) is not None), (
                name
            )


class _Wrong:
    def create_network(self, flag):
        """Another name than ``flags``."""

    def build_serialized_network(self, config, network):
        """Another order."""

    def create_builder_config(self, more=None):
        """One parameter more."""

    def create_nothing(self):
        """No such method."""


def test_planted_faults_are_found():
    problems = stand_ins.class_problems(_Wrong, "Builder", ("8.6.0", "10.4.0"), TABLE)
    assert len(problems) == 7
    assert "_Wrong.create_network(flag) is Builder.create_network['(flags=)'] in 8.6.0" in problems
    assert "_Wrong.create_nothing: there is no Builder.create_nothing in 8.6.0, 10.4.0" in problems
    module = SimpleNamespace(
        Builder=lambda log: None,
        BuilderFlag=SimpleNamespace(FP16=0),
        Builders=0,
        TensorIOMode=SimpleNamespace(INPUT=1),
    )
    assert stand_ins.module_problems(module, "11.1.0", TABLE) == [
        "Builder(log) is Builder['(logger)'] in 11.1.0",
        "there is no BuilderFlag.FP16 in 11.1.0",
        "there is no Builders in 11.1.0",
    ]


def test_planted_faults_of_cuda_are_found():
    wrong = type(
        "Wrong", (), {"cudaMalloc": lambda self, length: None, "cudaMemcpyKind": SimpleNamespace(cudaNo=1)}
    )
    problems = stand_ins.cuda_problems(wrong, CUDA_TABLE)
    assert len(problems) == 2 * len(CUDA_TABLE.versions)
    assert problems[0] == f"cudaMalloc(length) is cudaMalloc['(size)'] in {CUDA_TABLE.versions[0]}"
