"""The inspecting half of the stub ``fake_trt_build``: it describes a plan's layers and runs nothing."""

import json


class Runtime:
    def __init__(self, trt, logger):
        assert logger.ready
        self.trt = trt
        if trt.major >= 8:
            self.engine_host_code_allowed = False
        trt.runtime = self

    def deserialize_cuda_engine(self, serialized_engine):
        kind = Engine if self.trt.major < 10 else NewEngine
        return kind(self.trt, json.loads(serialized_engine))


class Engine:
    def __init__(self, trt, plan):
        self.trt, self.plan = trt, plan
        self._names = [*plan["profiles"][0], *plan["outputs"]]

    num_io_tensors = property(lambda self: len(self._names))

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode.INPUT if name in self.plan["profiles"][0] else self.trt.TensorIOMode.OUTPUT

    def create_execution_context(self):
        return Context(self.plan["profiles"][0])

    def create_engine_inspector(self):
        return Inspector(self)


class NewEngine(Engine):
    """As since version 10."""

    def create_execution_context(self, strategy=None):
        assert strategy is None
        return super().create_execution_context()


class Context:
    def __init__(self, profile):
        self._profile, self.shapes = profile, {}

    def set_input_shape(self, name, shape):
        low, _, high = self._profile[name]
        assert all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self.shapes[name] = shape
        return True

    def _sized(self):
        return set(self.shapes) == set(self._profile)


class Inspector:
    def __init__(self, engine):
        self._engine, self.execution_context = engine, None

    def get_engine_information(self, format):  # noqa: A002
        assert format == self._engine.trt.LayerInformationFormat.JSON
        layers = json.loads(json.dumps(self._engine.plan["layers"]))
        if self.execution_context is None or not self.execution_context._sized():
            layers = [_unsized(layer) for layer in layers]
        # The layers of the other profiles, of which the context knows no sizes.
        others = [
            {**_unsized(layer), "Name": f"{layer['Name']} [profile {number}]"}
            for number in range(1, len(self._engine.plan["profiles"]))
            for layer in json.loads(json.dumps(layers))
        ]
        return json.dumps({"Layers": layers + others, "Bindings": []})


def _unsized(layer):
    for tensor in layer["Inputs"] + layer["Outputs"]:
        tensor["Format/Datatype"] = "N/A due to dynamic shapes"
    return layer
