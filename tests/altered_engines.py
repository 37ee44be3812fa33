"""Engines with planted faults: copies of a sound one, the graph changed and the card right about it."""

import shutil

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from pssdet.models.card import ENGINE_CARD, FileRecord, encode, read_engine_card


def altered(engine, folder, change, **changes):
    """A copy of an engine with a changed graph, the probe of before, and changes of its model's card."""
    folder.mkdir(parents=True)
    model = onnx.load(engine / "model.onnx")
    change(model.graph)
    onnx.save(model, folder / "model.onnx")
    card = read_engine_card(engine)
    for file in filter(None, [card.probe]):
        shutil.copy(engine / file.name, folder)
    files = (FileRecord.of(folder / "model.onnx"),)
    card = msgspec.structs.replace(card, files=files, model=msgspec.structs.replace(card.model, **changes))
    (folder / ENGINE_CARD).write_bytes(encode(card))
    return folder


def swap_channels(graph):
    """BGR where RGB is wanted."""
    for node in graph.node:
        node.input[:] = ["swapped" if name == "image" else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "bgr"))
    graph.node.insert(0, helper.make_node("Gather", ["image", "bgr"], ["swapped"], axis=1))


def plant_in_offsets(plant):
    """A fault of the ablation (``benchmarks/ablation.py``) in each layer that predicts offsets."""

    from benchmarks.ablation import Fault, with_fault

    def change(graph):
        tensors = {each.name: each for each in graph.initializer if ".conv_offset." in each.name}
        arrays = {name: numpy_helper.to_array(each) for name, each in tensors.items()}
        for name, array in with_fault(arrays, Fault("planted", plant)).items():
            tensors[name].CopyFrom(numpy_helper.from_array(array, name))

    return change


def looser_nms(graph):
    set_attribute(graph, "nms_threshold", 0.7)


def find_nothing(graph):
    set_attribute(graph, "score_threshold", 2.0)


def set_attribute(graph, name, value):
    (node,) = [node for node in graph.node if node.op_type == "MulticlassNms"]
    (attribute,) = [attribute for attribute in node.attribute if attribute.name == name]
    attribute.f = value


def lower_scores(graph):
    for node in graph.node:
        node.output[:] = ["full" if name == "scores" else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.float32(0.98), "factor"))
    graph.node.append(helper.make_node("Mul", ["full", "factor"], ["scores"]))


def give_nan(graph):
    for node in graph.node:
        node.output[:] = ["full" if name == "scores" else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.float32(np.nan), "nan"))
    graph.node.append(helper.make_node("Mul", ["full", "nan"], ["scores"]))


def reorder_labels(order):
    """Label ``order[i]`` where label i was."""

    def change(graph):
        for node in graph.node:
            node.output[:] = ["ordered_before" if name == "labels" else name for name in node.output]
        graph.initializer.append(numpy_helper.from_array(np.array(order, np.int32), "order"))
        graph.node.append(helper.make_node("Gather", ["order", "ordered_before"], ["labels"]))

    return change
