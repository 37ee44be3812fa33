"""A detector and a data set small enough to train in a test."""

import msgspec
import numpy as np
import pytest

from pssdet.models.architecture import CASCADE_REG_WEIGHTS, Architecture
from pssdet.models.numerics import DYGRAPH, STATIC
from pssdet.models.reader import Preprocessing

TINY = Architecture(
    blocks=(1, 1, 1, 1),
    stem_width=4,
    base_width=4,
    fpn_channels=8,
    head_width=16,
    num_classes=8,
    anchor_sizes=(16.0, 32.0, 64.0, 128.0, 256.0),
    pre_nms_top_n=50,
    post_nms_top_n=20,
)
READER = Preprocessing(96, 96, interpolation="cubic", resize="first")
TINY_CASCADE = msgspec.structs.replace(TINY, reg_weights=CASCADE_REG_WEIGHTS)


@pytest.fixture(scope="session")
def tiny_model():
    import paddle

    from pssdet.training.trainable_detector import TrainableDetector

    paddle.seed(0)
    return TrainableDetector(TINY, DYGRAPH)


@pytest.fixture(scope="session")
def tiny_cascade():
    import paddle

    from pssdet.training.trainable_detector import TrainableDetector

    paddle.seed(0)
    return TrainableDetector(TINY_CASCADE, STATIC)


@pytest.fixture(scope="session")
def tiny_samples(tmp_path_factory):
    from pssdet.models.labels import SHAPES
    from pssdet.training.samples import annotated_pictures
    from pssdet.validation.ground_truth import read_ground_truth
    from pssdet.validation.scenes.dataset import write_dataset

    annotations = write_dataset(tmp_path_factory.mktemp("scenes"), "train", 24)
    return annotated_pictures(read_ground_truth(annotations, annotations.parent, SHAPES))


@pytest.fixture
def tiny_config():
    from pssdet.training.run import TrainingConfig

    def config(**changes):
        settings = {
            "steps": 4,
            "undeformed": 2,
            "processes": 1,
            "batch": 2,
            "warmup": 2,
            "report": 1,
            "save": 2,
        }
        return TrainingConfig(TINY, DYGRAPH, READER, **(settings | changes))

    return config


@pytest.fixture
def cascade_config(tiny_config):
    def config(**changes):
        return msgspec.structs.replace(tiny_config(**changes), architecture=TINY_CASCADE, numerics=STATIC)

    return config


@pytest.fixture
def rng():
    return np.random.RandomState(0)
