"""What is particular to the export of a detector: trunk and heads converted apart, composed with the functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import inliner

from pssdet.engines.backend import Session
from pssdet.errors import GateFailed
from pssdet.export.compose import INPUTS, OUTPUTS, compose
from pssdet.export.convert import convert_head, convert_trunk
from pssdet.export.tracing import OPSET
from pssdet.models.card import GraphRecord, ModelCard, StageRecord
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import run_reference
from pssdet.models.parameters import Parameters
from pssdet.models.sample import sample_batches
from pssdet.models.stages import HEAD_NODES, TRUNK_NODES, compare, tap_names
from pssdet.models.zoo import ZooEntry


@dataclass(frozen=True)
class DetectorExport:
    """A detector as the pipeline exports it.

    Attributes:
        entry: the detector.
        model: it in Paddle; the pipeline gives it its parameters.
    """

    entry: ZooEntry
    model: TwoStageDetector

    @property
    def tapped(self) -> tuple[str, ...]:
        """Every stage of the detector."""
        return tap_names(self.entry.architecture)

    def rename(self, found: Parameters, source: str) -> Parameters:
        """Nothing to do: whatever its format, a detector's checkpoint is read under the model's names."""
        del source
        return found

    def convert(self) -> tuple[onnx.ModelProto, GraphRecord]:
        """The whole detector in ONNX.

        Raises:
            GateFailed: paddle2onnx failed, or a function cannot be inlined.
            EnvironmentMissing: paddle2onnx is not installed.
        """
        arch = self.entry.architecture
        trunk = convert_trunk(self.model)
        heads = [convert_head(self.model, head) for head in range(arch.num_heads)]
        converted = sum(len(part.graph.node) for part in (trunk, *heads))
        composed = compose(trunk, heads, arch, self.entry.numerics)
        nodes = _inlined_nodes(composed)
        network = sum(node.name.startswith((TRUNK_NODES, HEAD_NODES)) for node in composed.graph.node)
        return composed, GraphRecord(OPSET, converted + nodes - network, nodes)

    def compare(self, session: Session) -> list[StageRecord]:
        """Agreement at every stage, for the bundled picture alone and in a batch with its mirror image.

        A model that detects nothing is compared all the same.
        """
        records: list[StageRecord] = []
        for name, inputs in sample_batches(self.entry.preprocessing):
            expected, obtained = run_reference(self.model, inputs), session.run(inputs)
            records += compare(name, self.entry.architecture, expected, obtained)
        return records

    def card(self, **common: Any) -> ModelCard:
        """The detector's card, with the fields that all cards of exported models have."""
        return ModelCard(numerics=self.entry.numerics, inputs=INPUTS, outputs=OUTPUTS, **common)


def _inlined_nodes(model: onnx.ModelProto) -> int:
    """Nodes of the graph once every function call is replaced by the function's body.

    Raises:
        GateFailed: a call would stay, so a runtime without functions could not run the model.
    """
    nodes = inliner.inline_local_functions(model).graph.node
    left = sorted({node.op_type for node in nodes if node.domain not in ("", "ai.onnx")})
    if left:
        raise GateFailed(f"functions {left} cannot be inlined; model and functions must have one opset")
    return len(nodes)
