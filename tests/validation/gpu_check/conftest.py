"""Bundles of a few pictures, packed once."""

import shutil
from dataclasses import replace

import pytest
from parallel import shared_folder

from pssdet.validation.gpu_check import pack

SCENES = 3


@pytest.fixture(scope="session")
def artifacts(mini_folder, tmp_path_factory):
    """What lies in artifacts/ at home: the small detector's export, also as that of a seeded model."""
    folder = tmp_path_factory.mktemp("artifacts")
    for place in ("mini_faster", "gpu-exports/mini_faster"):
        (folder / place).mkdir(parents=True)
        for name in ("model.onnx", "model.json", "probe.npz"):
            shutil.copyfile(mini_folder / name, folder / place / name)
    return folder


@pytest.fixture(scope="session")
def bundles(artifacts, tmp_path_factory):
    """The cases of the check; row 4 is the small detector without its parameters."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pack, "SCENES", 6)
            patch.setitem(pack.SPECS, "mini", replace(pack.SPECS["mini"], batches=(1, 2)))
            patch.setitem(pack.SPECS, "scenes", pack.CaseSpec("scenes", "mini_faster", None, SCENES, (1, 2)))
            patch.setitem(pack.SPECS, "row4", pack.CaseSpec("row4", "mini_faster", (96, 128), 2, (1, 2)))
            pack.pack(folder, (), lambda _: None, artifacts)

    return shared_folder(tmp_path_factory, "gpu-bundles", make)
