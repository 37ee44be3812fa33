"""Pictures to calibrate on."""

import pytest

from pssdet.validation.scenes.dataset import write_dataset


@pytest.fixture(scope="session")
def calibration_scenes(tmp_path_factory):
    """A folder of 24 scenes of the training's split, which no test judges on."""
    folder = tmp_path_factory.mktemp("calibration")
    write_dataset(folder, "train", 24)
    return folder
