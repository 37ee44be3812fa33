"""The detectors of docs/how-to/add-a-detector.md: a configuration and an entry of the zoo."""

from pages import blocks

from pssdet.models import zoo
from pssdet.models.configuration.zoo_entry import read_configuration
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import parameter_shapes
from pssdet.models.parameters import load_parameters


def test_the_configuration_is_understood(tmp_path):
    (text,) = blocks("add-a-detector.md", "yaml")
    (tmp_path / "parts.yml").write_text(text)
    entry = read_configuration(tmp_path / "parts.yml")
    assert entry.name == "parts"
    assert entry.architecture.num_classes == len(entry.labels) == 3
    assert entry.numerics == zoo.DYGRAPH


def test_the_entrys_checkpoint_fits_its_structure():
    (code,) = blocks("add-a-detector.md", "python")
    entry = eval(code, vars(zoo))
    assert entry.name not in {each.name for each in zoo.ZOO}
    shapes = parameter_shapes(TwoStageDetector(entry.architecture, entry.numerics))
    parameters, weights = load_parameters(entry.checkpoint, shapes)
    assert weights.sha256 == entry.sha256
    assert parameters.keys() == shapes.keys()
