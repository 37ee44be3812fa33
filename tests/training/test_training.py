"""The training loop: losses fall, steps repeat, an interrupted run continues as if it had not been."""

import itertools
import threading

import numpy as np
import paddle
import pytest

from pssdet.errors import BadInput, GateFailed, PssDetError
from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import parameter_shapes
from pssdet.models.numerics import DYGRAPH
from pssdet.training.optimiser import AdamW, FlatParameters, learning_rate
from pssdet.training.run import STATE, Run, Shared, resume, rounded, save_state, train, write_result
from pssdet.training.samples import Batch
from pssdet.training.trainable_detector import LOSSES, encode


def parameters_of(run):
    return {name: tensor.numpy() for name, tensor in run.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.mark.parametrize("kind", ["tiny_config", "cascade_config"])
def test_steps_lower_the_losses_of_a_fixed_batch(kind, request, tiny_samples):
    run = Run(request.getfixturevalue(kind)(warmup=1, steps=1000), tiny_samples)
    fixed = run._batches.batch(0)[0]
    run._batches.batch = lambda number: (fixed, np.random.RandomState(0))
    run.advance(12)
    totals = [sum(row.losses) for row in run.rows]
    assert totals[-1] < 0.8 * totals[0]


def test_flat_anchors_belong_to_their_logits_and_deltas(tiny_model):
    """Row (y, x, a) of the flat tensors is channel a, cell (y, x) of the maps, as the detector reads them."""
    sizes = [(12, 8), (6, 4), (3, 2), (2, 1), (1, 1)]
    maps = {}
    for level, (height, width) in enumerate(sizes, start=2):
        count = 2 * 3 * height * width
        maps[f"rpn_score_p{level}"] = paddle.arange(count, dtype="float32").reshape([2, 3, height, width])
        maps[f"rpn_delta_p{level}"] = paddle.arange(4 * count, dtype="float32").reshape([2, 12, height, width])
    logits, deltas, anchors = tiny_model._flat_rpn(maps)
    assert len(logits) == len(deltas) == 2 * len(anchors) == 2 * sum(3 * h * w for h, w in sizes)
    second_level = 3 * 12 * 8
    image, y, x, a = 1, 4, 3, 2
    row = second_level + (y * 4 + x) * 3 + a
    flat = image * len(anchors) + row
    assert logits[flat] == maps["rpn_score_p3"][image, a, y, x]
    assert deltas[flat].tolist() == maps["rpn_delta_p3"][image, 4 * a : 4 * a + 4, y, x].tolist()
    assert anchors[row].tolist() == pytest.approx(
        (tiny_model.anchors[1][a] + np.array([x, y, x, y]) * 8).tolist()
    )


def test_detector_that_is_right_has_no_stage_losses(tiny_model, tiny_cascade):
    """What inference would turn into the annotated boxes and labels, training is content with."""
    rng = np.random.RandomState(0)
    boxes = [np.array([[10, 12, 50, 60], [70, 8, 90, 40]], np.float32), np.array([[5, 5, 30, 30]], np.float32)]
    labels = [np.array([3, 0]), np.array([7])]
    batch = Batch(np.zeros((2, 3, 96, 96), np.float32), np.full((2, 2), 96, np.float32), boxes, labels)
    for model, stage in ((tiny_model, 0), (tiny_cascade, 0), (tiny_cascade, 2)):
        offset = model.numerics.pixel_offset
        near = [
            np.concatenate([each + rng.uniform(-1, 1, each.shape), each + 300]).astype(np.float32)
            for each in boxes
        ]
        regions = [paddle.to_tensor(each) for each in near]
        classes = model.arch.num_classes
        logits, slots = np.zeros((6, classes + 1), np.float32), 2 if model.arch.num_heads > 1 else classes
        deltas = rng.standard_normal((6, slots, 4)).astype(np.float32)  # of slots that mean nothing
        for row, (image, number, label) in {0: (0, 0, 3), 1: (0, 1, 0), 4: (1, 0, 7)}.items():
            logits[row, label + offset] = 50  # the two eras' conventions go together
            wanted = encode(
                near[image][[number]], boxes[image][[number]], model.arch.reg_weights[stage], offset
            )
            deltas[row, 1 if slots == 2 else label] = wanted[0]
        logits[[2, 3, 5], 0 if offset else classes] = 50
        flat = paddle.to_tensor(deltas.reshape(6, -1))
        found = model._stage_losses(paddle.to_tensor(logits), flat, regions, batch, stage)
        assert [float(loss) for loss in found] == pytest.approx([0, 0], abs=1e-4)
        worse = model._stage_losses(paddle.to_tensor(np.roll(logits, 1, 1)), flat + 0.5, regions, batch, stage)
        assert min(float(loss) for loss in worse) > 0.5


def test_stages_of_a_cascade_learn_from_the_boxes_of_the_one_before(tiny_cascade):
    regions = [paddle.to_tensor([[10.0, 12.0, 50.0, 60.0]]), paddle.to_tensor([[0.0, 0.0, 9.0, 9.0]])]
    deltas = paddle.to_tensor([[9.0] * 4 + [20.0, 0.0, 0.0, 0.0], [9.0] * 4 + [0.0, 40.0, 0.0, 0.0]])
    first, second = tiny_cascade._next_regions(regions, deltas, stage=1)  # a twentieth of the side
    assert first.numpy() == pytest.approx(np.array([[10 + 41, 12, 50 + 41, 60]]))
    assert second.numpy() == pytest.approx(np.array([[0, 20, 9, 29]]))


def test_start_gives_what_has_the_same_name_and_shape(tiny_config, cascade_config, tiny_samples, tmp_path):
    first = Run(tiny_config(seed=5), tiny_samples)
    source, _ = write_result(first, tmp_path, "tiny")
    fresh, started = (
        parameters_of(Run(cascade_config(start=start), tiny_samples)) for start in ("", str(source))
    )
    given = {name: rounded(value) for name, value in parameters_of(first).items()}
    for name, value in started.items():
        same = name in given and given[name].shape == value.shape
        np.testing.assert_array_equal(value, given[name] if same else fresh[name], err_msg=name)
    assert any("bbox_head" in name for name in started.keys() - given.keys())
    paddle.save({"other.weight": paddle.zeros([2])}, str(tmp_path / "other.pdparams"))
    with pytest.raises(BadInput, match="shares no parameter"):
        Run(cascade_config(start=str(tmp_path / "other.pdparams")), tiny_samples)


def test_undeformed_convolutions_equal_deformable_ones_at_the_start(tiny_config, tiny_samples):
    model = Run(tiny_config(), tiny_samples).model
    model.eval()
    image = paddle.to_tensor(np.random.RandomState(0).standard_normal((1, 3, 64, 96)).astype(np.float32))
    outputs = []
    for on in (True, False, True):
        model.set_deforming(on=on)
        outputs.append({name: x.numpy() for name, x in model.trunk(image).items()})
    for name, value in outputs[0].items():
        assert outputs[1][name] == pytest.approx(value, abs=1e-4 * float(np.abs(value).max()))
        np.testing.assert_array_equal(outputs[2][name], value)


def test_offsets_learn_once_they_may(tiny_config, tiny_samples):
    run = Run(tiny_config(), tiny_samples)
    offsets = [name for name in parameters_of(run) if "conv_offset" in name]
    first = parameters_of(run)
    run.advance(2)
    assert all(np.array_equal(parameters_of(run)[name], first[name]) for name in offsets)
    run.advance(4)
    assert not any(np.array_equal(parameters_of(run)[name], first[name]) for name in offsets)


def test_untrained_offsets_shift_the_kernel_by_two_pixels(tiny_config, tiny_samples):
    parameters = parameters_of(Run(tiny_config(), tiny_samples))
    weights = [value for name, value in parameters.items() if name.endswith("conv_offset.weight")]
    biases = [value for name, value in parameters.items() if name.endswith("conv_offset.bias")]
    assert len(weights) == len(biases) > 0
    assert not any(weight.any() for weight in weights)
    assert all(bias.tolist() == 18 * [2] + 9 * [0] for bias in biases)


def test_resumed_run_equals_one_that_was_not_stopped(tiny_config, tiny_samples, tmp_path):
    straight = Run(tiny_config(), tiny_samples)
    straight.advance(4)
    stopped = Run(tiny_config(), tiny_samples)
    stopped.advance(2, save=lambda run: save_state(run, tmp_path))
    resumed = Run(tiny_config(), tiny_samples)
    resume(resumed, tmp_path)
    assert resumed.step == 2
    resumed.advance(4)
    assert_equal(parameters_of(straight), parameters_of(resumed))
    assert [row[:3] for row in straight.rows] == [row[:3] for row in resumed.rows]


def test_state_of_another_plan_or_damaged_is_refused(tiny_config, tiny_samples, tmp_path):
    save_state(Run(tiny_config(), tiny_samples), tmp_path)
    with pytest.raises(BadInput, match="another configuration"):
        resume(Run(tiny_config(seed=5), tiny_samples), tmp_path)
    content = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="delete it"):
        resume(Run(tiny_config(), tiny_samples), tmp_path)


def test_processes_share_a_step(tiny_config, tiny_samples):
    """Two of them end with equal parameters: those of the mean of their gradients."""
    config = tiny_config(processes=2)
    size = FlatParameters(Run(config, tiny_samples).model).size
    shared = Shared(threading.Barrier(2), bytearray(4 * 2 * size))
    runs = [Run(config, tiny_samples, rank, shared) for rank in range(2)]
    alone = [Run(config, tiny_samples, rank) for rank in range(2)]
    gradients = []
    for run in alone:
        run.model.train()
        run.model.set_deforming(on=False)
        gradients.append(run._gradient()[0])
    helper = threading.Thread(target=runs[1].advance, args=(1,))
    helper.start()
    runs[0].advance(1)
    helper.join()
    values = [run.parameters.values() for run in runs]
    np.testing.assert_array_equal(values[0], values[1])
    rate = learning_rate(0, config.steps, config.warmup, config.rate)
    optimiser = AdamW(size, config.decay, config.clip)
    flat = alone[0].parameters
    expected = optimiser.update(flat.values(), np.mean(gradients, axis=0), flat.decays, 0, rate)
    assert np.abs(values[0] - expected).max() < 1e-6


def test_run_of_two_processes_ends_with_its_state(tiny_config, tiny_samples, tmp_path):
    rows = []
    config = tiny_config(processes=2, steps=2, undeformed=1)
    run = train(config, tiny_samples, tmp_path, rows.append)
    assert [row.step for row in rows] == [1, 2]
    again = train(config, tiny_samples, tmp_path, rows.append)  # nothing is left to do
    assert len(rows) == 2
    assert_equal(parameters_of(run), parameters_of(again))


def test_failure_of_one_process_ends_the_run(tiny_config, tiny_samples, tmp_path):
    missing = [sample._replace(path=tmp_path / "missing.jpg") for sample in tiny_samples]
    with pytest.raises(PssDetError):
        train(tiny_config(processes=2), missing, tmp_path, lambda row: None)


def test_gradient_that_is_not_finite_stop_the_run(tiny_config, tiny_samples):
    run = Run(tiny_config(), tiny_samples)
    weight = run.model.bbox_head.bbox_score.weight
    run.model.losses = lambda batch, rng: dict.fromkeys(LOSSES, weight.sum() * float("inf"))
    with pytest.raises(GateFailed, match="lower rate"):
        run._gradient()


def test_checkpoint_is_one_that_the_project_reads(tiny_config, tiny_samples, tmp_path):
    run = Run(tiny_config(), tiny_samples)
    run.advance(2)
    weights, curve = write_result(run, tmp_path, "tiny")
    found = read_checkpoint(weights)
    shapes = parameter_shapes(TwoStageDetector(run.config.architecture, DYGRAPH))
    expected = {name: rounded(value) for name, value in parameters_of(run).items()}
    assert_equal(match_parameters(found, shapes, "tiny"), expected)
    lines = curve.read_text().splitlines()
    assert lines[0] == f"step,rate,{','.join(LOSSES)},seconds"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_adamw_is_paddles():
    rng = np.random.RandomState(0)
    start, gradients = (
        rng.standard_normal(50).astype(np.float32),
        rng.standard_normal((6, 50)).astype(np.float32),
    )
    parameter = paddle.create_parameter(
        [50], "float32", default_initializer=paddle.nn.initializer.Assign(start)
    )
    theirs = paddle.optimizer.AdamW(0.01, parameters=[parameter], weight_decay=0.1)
    ours, values = AdamW(50, decay=0.1, limit=1e9), start
    for step, gradient in enumerate(gradients):
        (parameter * paddle.to_tensor(gradient)).sum().backward()
        theirs.step()
        theirs.clear_grad()
        values = ours.update(values, gradient, np.ones(50, np.float32), step, 0.01)
    assert values.dtype == np.float32
    assert values == pytest.approx(parameter.numpy(), abs=1e-5)


def test_long_gradients_are_shortened():
    gradient = np.full(4, 100.0, np.float32)
    short, long = AdamW(4, 0.0, limit=1.0), AdamW(4, 0.0, limit=1e9)
    for optimiser in (short, long):
        optimiser.update(np.zeros(4, np.float32), gradient, np.zeros(4, np.float32), 0, 0.1)
    assert long.moments[0] == pytest.approx(200 * short.moments[0], rel=1e-4)


def test_learning_rate_rises_then_falls_to_a_hundredth():
    rates = [learning_rate(step, 100, 10, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert learning_rate(100, 100, 10, 1.0) == pytest.approx(0.01)


def test_checkpoints_keep_nine_significant_bits():
    values = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32) * 1e-3
    values[0, :4] = 0, 1, -2.5, 255 / 256
    obtained = rounded(values)
    assert obtained.shape == values.shape
    assert obtained[0, :4].tolist() == [0, 1, -2.5, 255 / 256]
    fraction, _ = np.frexp(obtained)
    np.testing.assert_array_equal(fraction * 512, np.rint(fraction * 512))
    np.testing.assert_allclose(obtained, values, rtol=2**-9)
