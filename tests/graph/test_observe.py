"""Readings: where they are stacked, where carried; calibration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress import graph
from jaxcompress.core.observers import Observer, covariance, second_moment
from jaxcompress.core.rules import Rules
from jaxcompress.quantize.ranges import min_max
from tests.graph.zoo import branches, counted_loop, custom_derivatives, mlp, normal, tied_gpt

X = normal(3, 5, 4)
SEQUENCES = normal(4, 3, 5, 4)


def highest(readings, name):
    return np.asarray(readings[name].high)


def test_a_reading_is_of_what_meets_the_weight():
    model = mlp()
    (x,) = model.inputs
    readings = graph.calibrate(model.fn, model.params, [x], second_moment())
    hidden, bias, _ = model.params
    inner = np.maximum(np.asarray(x @ hidden + bias[None]), 0)
    np.testing.assert_allclose(readings["0"].value, np.mean(np.square(x), 0), rtol=1e-6)
    np.testing.assert_allclose(readings["2"].value, np.mean(np.square(inner), 0), rtol=1e-5)


def test_scanned_leaves_have_one_reading_each():
    def fn(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params)[0]

    stack = jnp.stack([2 * jnp.eye(4), 3 * jnp.eye(4), jnp.eye(4)])
    _, readings = graph.observe(fn, min_max())(stack, X)
    np.testing.assert_allclose(highest(readings, "."), X.max() * np.array([1, 2, 6]), rtol=1e-6)


def test_scans_in_scans_stack_twice():
    def fn(params, x):
        def outer(x, stack):
            return jax.lax.scan(lambda x, w: (x @ w, None), x, stack)[0], None

        return jax.lax.scan(outer, x, params)[0]

    stack = 2.0 * jnp.tile(jnp.eye(4)[None, None], (2, 3, 1, 1))
    _, readings = graph.observe(fn, min_max())(stack, X)
    turns = 2.0 ** np.arange(6).reshape(2, 3)
    np.testing.assert_allclose(highest(readings, "."), X.max() * turns, rtol=1e-6)


def convolved(kernel, x, groups=1):
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1,), [(1, 1)], dimension_numbers=numbers, feature_group_count=groups
    )


def test_windows_are_observed_where_asked_for():
    def fn(params, x):
        x, _ = jax.lax.scan(lambda x, w: (convolved(w, x), None), x, params["layers"])
        return x @ params["head"]

    params = {"layers": normal(1, 2, 3, 4, 4), "head": normal(2, 4, 2)}
    _, readings = jax.jit(graph.observe(fn, covariance(), of=graph.windows))(params, SEQUENCES)
    products, counts = readings["layers"]
    x = np.asarray(SEQUENCES)
    for layer, kernel in enumerate(params["layers"]):
        padded = np.pad(x, [(0, 0), (1, 1), (0, 0)])
        rows = np.stack([padded[:, i : i + 3] for i in range(5)], axis=1).reshape(15, 12)
        np.testing.assert_allclose(products[layer], rows.T @ rows, rtol=1e-5, atol=1e-5)
        assert counts[layer] == 15
        x = (rows @ kernel.reshape(12, 4)).reshape(x.shape)
    assert readings["head"][0].shape == (4, 4)


def test_windows_of_groups_are_not_observed():
    observed = graph.observe(lambda w, x: convolved(w, x, groups=2), min_max(), of=graph.windows)
    with pytest.raises(ValueError, match=r"Site.windows: '.' is a conv_general_dilated"):
        observed(normal(1, 3, 2, 4), SEQUENCES)


def test_a_weight_used_in_every_turn_has_one_reading():
    def fn(w, x):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=3)[0]

    _, readings = graph.observe(fn, min_max())(2 * jnp.eye(4), X)
    np.testing.assert_allclose(highest(readings, "."), X.max() * 4, rtol=1e-6)


def test_a_branch_not_taken_leaves_the_reading_as_it_was():
    model = branches()
    observed = graph.observe(model.fn, min_max())
    for sign in (1, -1):
        x = sign * jnp.abs(model.inputs[0])
        _, readings = observed(model.params, x)
        assert np.isfinite(highest(readings, "a")) == (sign > 0)
    _, once = observed(model.params, jnp.abs(x))
    _, again = observed(model.params, x, readings=once)
    assert highest(again, "a") == highest(once, "a")


def test_a_while_loop_carries_its_reading():
    model = counted_loop()
    (x,) = model.inputs
    _, readings = graph.observe(model.fn, min_max())(model.params, x)
    seen = [x]
    while len(seen) < 5 and jnp.sum(seen[-1] @ model.params["test"]) < 100:
        seen.append(jnp.tanh(seen[-1] @ model.params["step"]) + seen[-1])
    np.testing.assert_allclose(highest(readings, "step"), np.max(seen), rtol=1e-6)
    assert not np.isfinite(highest(readings, "test"))


def test_readings_go_on():
    observed = graph.observe(lambda w, x: x @ w, min_max())
    _, readings = observed(jnp.eye(4), X)
    _, readings = observed(jnp.eye(4), 10 * X, readings=readings)
    _, readings = observed(jnp.eye(4), X, readings=readings)
    np.testing.assert_allclose(highest(readings, "."), 10 * X.max(), rtol=1e-6)


def test_gradients_pass_beside_the_readings():
    model = custom_derivatives()

    def loss(fn):
        return lambda params: jnp.sum(fn(params, *model.inputs) ** 2)

    def observed_loss(params):
        outputs, readings = graph.observe(model.fn, min_max())(params, *model.inputs)
        return jnp.sum(outputs**2), readings

    gradients, readings = jax.jit(jax.grad(observed_loss, has_aux=True))(model.params)
    expected = jax.jit(jax.grad(loss(model.fn)))(model.params)
    jax.tree.map(np.testing.assert_array_equal, gradients, expected)
    np.testing.assert_array_equal(highest(readings, "a"), model.inputs[0].max())


def test_only_chosen_leaves_are_observed_and_lookups_never():
    model = tied_gpt()
    rules = Rules({"layers/0/*": min_max()})
    _, readings = graph.observe(model.fn, rules)(model.params, *model.inputs)
    assert sorted(readings) == ["layers/0/down", "layers/0/out", "layers/0/qkv", "layers/0/up"]
    _, readings = graph.observe(model.fn, min_max())(model.params, *model.inputs)
    assert "embed#2" in readings
    assert "embed" not in readings


def test_calibrate_merges_batches_of_any_size():
    batches = [normal(seed, rows, 4) for seed, rows in enumerate((5, 5, 3))]
    readings = graph.calibrate(lambda w, x: x @ w, jnp.eye(4), iter(batches), second_moment())
    everything = np.concatenate(batches)
    np.testing.assert_allclose(readings["."].value, np.mean(np.square(everything), 0), rtol=1e-6)


def test_calibrate_traces_once_per_shape():
    calls = []

    def fn(w, x, y):
        calls.append(x.shape)
        return x @ w + y

    graph.calibrate(fn, jnp.eye(4), [(X, 1.0)] * 4, min_max())
    # Once for the sites that the readings begin with, once for the compiled step.
    assert calls == [X.shape] * 2


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_readings_do_not_depend_on_devices(mesh, axis_type):
    def fn(params, x):
        x, _ = jax.lax.scan(lambda x, w: (jax.nn.relu(x @ w), None), x, params["layers"])
        return x @ params["head"]

    # Whole numbers, so that every sum is exact in any order.
    whole_numbers = [jnp.round(4 * normal(seed, 3, 4, 4)) for seed in (1, 2)]
    params = {"layers": whole_numbers[0], "head": whole_numbers[1][0]}
    x = jnp.round(4 * normal(5, 8, 2, 4))
    whole = graph.calibrate(fn, params, [x], min_max())
    grid = mesh(data=4, time=2, axis_type=axis_type)
    sharding = NamedSharding(grid, PartitionSpec("data", "time"))
    spread = graph.calibrate(fn, params, [jax.device_put(x, sharding)], min_max())
    jax.tree.map(np.testing.assert_array_equal, spread, whole)


def test_a_nan_is_named_by_batch_and_input():
    bad = {"image": X.at[1, 2].set(jnp.nan)}
    with pytest.raises(ValueError, match=r"batches\[1\]=\.\.\.\) holds a NaN in input '0/image'"):
        graph.calibrate(lambda w, x: x["image"] @ w, jnp.eye(4), [{"image": X}, bad], min_max())


def test_what_is_read_is_no_nan():
    for weight, x in ((jnp.eye(4), X.at[1, 2].set(jnp.inf)), (jnp.full((4, 4), jnp.nan), X)):
        with pytest.raises(ValueError, match=r"what is read at site '1' is NaN"):
            graph.calibrate(
                lambda p, x: x @ p[0] @ p[1], (weight, jnp.eye(4)), [x], second_moment()
            )


def test_no_batch_raises():
    with pytest.raises(ValueError, match=r"calibrate\(batches\) holds no batch"):
        graph.calibrate(lambda w, x: x @ w, jnp.eye(4), [], min_max())
    batches = [jnp.eye(4), jnp.zeros((0, 4))]
    with pytest.raises(ValueError, match=r"calibrate\(batches\): batch 1 holds no example"):
        graph.calibrate(lambda w, x: x @ w, jnp.eye(4), batches, min_max())


def test_a_reading_of_no_site_raises():
    observed = graph.observe(lambda w, x: x @ w, min_max())
    with pytest.raises(ValueError, match=r"'head' is no observed site. Sites are: \."):
        observed(jnp.eye(4), X, readings={"head": 0})


def test_batches_whose_readings_differ_in_shape_raise():
    rows = Observer(
        init=lambda x: jnp.zeros(x.shape[0]),
        update=lambda x, state: state + x.sum(-1),
        read=lambda state: state,
        merge=jnp.add,
    )
    with pytest.raises(ValueError, match=r"site '\.' has shapes \[\(5,\), \(\)\]"):
        graph.calibrate(lambda w, x: x @ w, jnp.eye(4), [X, X[:2]], rows)
