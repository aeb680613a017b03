"""Transforms that leave the function as it is: exact before rounding, better after."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcompress as jc
from jaxcompress.core.report import KEPT
from jaxcompress.quantize import equivalent
from tests.graph.zoo import normal

Q = jc.quantize
INT8, INT4 = Q.int8(), Q.int4()


def norm(x, scale, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * scale[None] + shift[None]


def model(p, x):
    """A norm whose scale has outliers, a relu layer, and an output."""
    y = norm(x, p["scale"], p["shift"])
    return jax.nn.relu(y @ p["up"] + p["bias"][None]) @ p["down"]


def stack(p, x):
    """The same in three layers of a scan, with a residual."""
    return lax.scan(lambda x, each: (x + model(each, x), None), x, p)[0]


def planted(params, channels, size=80.0):
    """Outlier channels in the data of `up`, which its small weights undo."""
    channels = jnp.asarray(channels)
    return params | {
        "scale": params["scale"].at[..., channels].multiply(size),
        "shift": params["shift"].at[..., channels].multiply(size),
        "up": params["up"].at[..., channels, :].divide(size),
    }


def params_of(*lead):
    return {
        "scale": 1 + 0.1 * normal(1, *lead, 16),
        "shift": 0.1 * normal(2, *lead, 16),
        "up": 0.25 * normal(3, *lead, 16, 24) * 4 ** (len(lead) == 0),
        "bias": 0.1 * normal(4, *lead, 24),
        "down": normal(5, *lead, 24, 12 if not lead else 16),
    }


X = normal(6, 64, 16) * 4
BATCHES = [X[:32], X[32:]]
# Compiled, as each operation by itself takes as long to compile as all of them.
ONE, LAYERS = jax.jit(lambda: [planted(params_of(*lead), [2, 9]) for lead in ((), (3,))])()


def coarse(fn, params, activations):
    """The function whose weights and data are in the format of the activations."""
    view = Q.fake_quantize(activations.spec, axes=jc.graph.axes(fn, params, X))
    quantized = Q.fake_quantize_activations(fn, activations)
    return jax.jit(lambda params, x: quantized(view(params), x))


def relative(found, expected):
    return float(jnp.sum((found - expected) ** 2) / jnp.sum(expected**2))


def assert_same(fn, params, after):
    exact = jax.jit(fn)(params, X)
    assert jax.tree.structure(after) == jax.tree.structure(params)
    np.testing.assert_allclose(jax.jit(fn)(after, X), exact, rtol=1e-3, atol=1e-3)


def test_smoothing_recovers_planted_outliers():
    fn, params = stack, LAYERS
    activations = equivalent.per_site(INT8)
    after, report = equivalent.smooth(fn, params, BATCHES, INT8, activations)
    assert_same(fn, params, after)
    exact = jax.jit(fn)(params, X)
    rounded = coarse(fn, params, activations)
    before, smoothed = (relative(rounded(each, X), exact) for each in (params, after))
    assert smoothed < before / 20
    assert smoothed < 1e-3
    rows = {row.name: row for row in report.leaves}
    assert rows["up"].action.startswith("scaled, strength")
    assert "before" in rows["up"].reason
    assert rows["scale"].action == "scaled"


def test_a_strength_that_does_not_help_is_not_taken():
    """Data and weights that codes hold exactly."""
    params = {"in": jnp.eye(3), "out": jnp.array([[7.0, 1.0], [2.0, 7.0], [3.0, 4.0]])}
    x = jnp.array([[7.0, 1.0, 2.0], [3.0, 7.0, 1.0], [0.0, 4.0, 7.0]])

    def fn(p, x):
        return jax.nn.relu(x @ p["in"]) @ p["out"]

    after, report = equivalent.smooth(fn, params, [x], INT4, Q.execution.dynamic(INT4))
    np.testing.assert_array_equal(after["out"], params["out"])
    rows = {row.name: row for row in report.leaves}
    assert rows["out"].action == KEPT
    assert rows["out"].reason.startswith("no strength lowers the relative output error")
    assert rows["in"].reason == "its data take no factor: an input of the model"


def test_layers_of_a_stack_have_strengths_of_their_own():
    mixed = planted(params_of(3), [2])
    flat = params_of(3)
    params = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:]]), mixed, flat)
    after, report = equivalent.smooth(stack, params, BATCHES, INT8, Q.execution.dynamic())
    (row,) = [row for row in report.leaves if row.name == "up"]
    assert "strengths" in row.action or "of 3" in row.action
    by = after["scale"] / params["scale"]
    assert float(by[0, 2]) < 0.1
    assert float(by[1:].min()) > 0.1


def test_activation_aware_scales_lower_the_error():
    fn, params = model, ONE
    after, report = equivalent.activation_aware(fn, params, BATCHES, Q.formats.int3())
    assert_same(fn, params, after)
    exact = jax.jit(fn)(params, X)

    view = Q.fake_quantize(Q.formats.int3(), axes=jc.graph.axes(fn, params, X))
    rounded = jax.jit(lambda params, x: fn(view(params), x))
    assert relative(rounded(after, X), exact) < relative(rounded(params, X), exact)
    (row,) = [row for row in report.leaves if row.name == "up"]
    assert row.action.startswith("scaled, strength")


def test_the_error_of_activation_aware_scales_is_that_of_the_outputs():
    """Against the plainest loop over strengths, on a layer of one scaling."""
    weight, data = normal(1, 6, 5), jnp.abs(normal(2, 40, 6)) * jnp.arange(1, 7)[None]
    params = {"in": jnp.eye(6), "out": weight}

    def fn(p, x):
        return jax.nn.relu(x @ p["in"]) @ p["out"]

    spec = INT4
    after, _ = equivalent.activation_aware(fn, params, [data], spec, strengths=(0.25, 0.5))
    mean = np.mean(np.abs(np.asarray(data)), axis=0)
    best, least = mean, np.inf
    for strength in (0.0, 0.25, 0.5):
        scales = mean**strength
        scales = scales / np.sqrt(scales.max() * scales.min())
        scaled = np.asarray(weight) * scales[:, None]
        step = np.abs(scaled).max(axis=0) / 7
        rounded = np.round(scaled / step) * step / scales[:, None]
        error = np.sum((np.asarray(data) @ (rounded - np.asarray(weight))) ** 2)
        if error < least:
            best, least = scales, error
    np.testing.assert_allclose(after["out"], weight * best[:, None], rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strengths": ()}, r"strengths=\(\)"),
        ({"strengths": (2.0,)}, "strengths"),
        ({"batches": []}, "holds no batch"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"batches": BATCHES, "strengths": (0.5,)} | change
    strengths = arguments["strengths"]
    with pytest.raises(ValueError, match=message):
        equivalent.smooth(
            model, ONE, arguments["batches"], INT8, equivalent.per_site(), strengths=strengths
        )
    with pytest.raises(ValueError, match=message):
        equivalent.activation_aware(model, ONE, arguments["batches"], INT8, strengths=strengths)


def test_what_is_not_finite_is_named():
    spoiled = ONE | {"up": ONE["up"].at[0, 0].set(jnp.nan)}
    verbs = {
        "smooth": lambda p, x: equivalent.smooth(model, p, [x], INT8, equivalent.per_site()),
        "activation_aware": lambda p, x: equivalent.activation_aware(model, p, [x], INT8),
        "correct_biases": lambda p, x: equivalent.correct_biases(model, p, p, [x]),
    }
    for name, verb in verbs.items():
        with pytest.raises(ValueError, match=f"{name}.*'up'"):
            verb(spoiled, X)
        with pytest.raises(ValueError, match=rf"{name}\(batches\[0\]=...\) holds a NaN"):
            verb(ONE, X.at[0].set(jnp.nan))
        with pytest.raises(
            ValueError, match=rf"{name}\(batches=...\): what .* meets is not finite"
        ):
            verb(ONE, X.at[0].set(jnp.inf))
    with pytest.raises(ValueError, match=r"equalize.*'up'"):
        equivalent.equalize(model, spoiled, X)
    spread = {"up": ONE["up"], "down": ONE["down"].at[0, 0].set(jnp.nan)}
    with pytest.raises(ValueError, match=r"rotate: leaf 'down' holds 1 values .* not finite"):
        equivalent.rotate(lambda p, x: x @ p["up"] @ p["down"], spread, X)
    far = ONE | {"up": jnp.full_like(ONE["up"], 3e38), "shift": jnp.full_like(ONE["shift"], 9.0)}
    with pytest.raises(ValueError, match=r"what site 'up' gives is not finite in the mean"):
        equivalent.correct_biases(model, far, far, [X])


def test_fixed_ranges_are_refused():
    readings = jc.graph.calibrate(model, ONE, BATCHES, Q.ranges.min_max())
    static = Q.execution.static(readings)
    with pytest.raises(ValueError, match="their ranges are fixed"):
        equivalent.smooth(model, ONE, BATCHES, INT8, static)


def test_equalized_channels_have_one_range():
    """In closed form: both weights get the geometric mean of their channels' ranges."""
    params = ONE | {"up": ONE["up"] * jnp.geomspace(0.01, 10, 24)[None]}
    after, report = equivalent.equalize(model, params, X)
    assert_same(model, params, after)
    made, read = jnp.abs(after["up"]).max(axis=0), jnp.abs(after["down"]).max(axis=1)
    expected = jnp.abs(params["up"]).max(axis=0) * jnp.abs(params["down"]).max(axis=1)
    np.testing.assert_allclose(made, read, rtol=1e-4)
    np.testing.assert_allclose(made * read, expected, rtol=1e-4)
    np.testing.assert_allclose(
        after["bias"] / params["bias"], made / jnp.abs(params["up"]).max(axis=0), rtol=1e-4
    )
    rows = {row.name: row for row in report.leaves}
    assert rows["up"].action == rows["down"].action == "equalized"
    assert rows["bias"].action == "scaled"
    assert rows["scale"].action == KEPT


def test_equalizing_a_chain_ends_at_the_ranges_of_all_its_weights():
    def chain(p, x):
        for kernel in p[:-1]:
            x = jax.nn.relu(x @ kernel)
        return x @ p[-1]

    params = [normal(i, 16, 16) * jnp.geomspace(0.1, 10, 16)[None] for i in range(4)]
    after, _ = equivalent.equalize(chain, params, X, sweeps=100)
    assert_same(chain, params, after)
    for one, other in itertools.pairwise(after):
        np.testing.assert_allclose(jnp.abs(one).max(axis=0), jnp.abs(other).max(axis=1), rtol=2e-3)


def test_a_batch_norm_between_two_weights_hands_factors_on():
    params = batch_norm()
    after, _ = equivalent.equalize(batch_normed, params, X)
    assert_same(batch_normed, params, after)
    np.testing.assert_array_equal(after["gain"], params["gain"])
    np.testing.assert_allclose(
        jnp.abs(after["a"]).max(axis=0), jnp.abs(after["b"]).max(axis=1), rtol=1e-4
    )


def test_dead_channels_and_zero_weights_stay_finite():
    params = ONE | {
        "scale": ONE["scale"].at[3].set(0.0),
        "shift": ONE["shift"].at[3].set(0.0),
        "up": ONE["up"].at[5].set(0.0),
    }
    for after, _ in (
        equivalent.smooth(model, params, BATCHES, INT8, equivalent.per_site(), strengths=(0.5,)),
        equivalent.activation_aware(model, params, BATCHES, INT4, strengths=(0.5,)),
        equivalent.equalize(model, params, X),
    ):
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(after))
        assert_same(model, params, after)
    idle = ONE | {name: jnp.zeros_like(ONE[name]) for name in ("up", "bias")}
    after, _ = equivalent.activation_aware(model, idle, BATCHES, INT4, strengths=(0.5,))
    assert_same(model, idle, after)


def test_folded_norms_have_scales_of_one():
    after, report = equivalent.fold_norms(model, ONE, X)
    assert_same(model, ONE, after)
    np.testing.assert_array_equal(jnp.abs(after["scale"]), 1.0)
    by = jnp.abs(ONE["scale"])
    np.testing.assert_allclose(after["up"], ONE["up"] * by[:, None], rtol=1e-5)
    np.testing.assert_allclose(after["shift"], ONE["shift"] / by, rtol=1e-5)
    rows = {row.name: row for row in report.leaves}
    assert (rows["scale"].action, rows["scale"].reason) == ("folded", "into up")
    assert rows["down"].action == KEPT


def batch_normed(p, x):
    y = (x @ p["a"] - p["mean"][None]) * lax.rsqrt(p["var"] + 1e-3)[None] * p["gain"][None]
    return jax.nn.relu(y + p["shift"][None]) @ p["b"]


def batch_norm():
    vectors = {name: jnp.abs(normal(i, 24)) for i, name in enumerate(("mean", "var"))}
    params = {"a": normal(5, 16, 24) * jnp.geomspace(0.1, 10, 24)[None], "b": normal(6, 24, 4)}
    # A scale may be negative, or 0.
    gain = normal(8, 24).at[3].set(0.0)
    return params | vectors | {"shift": normal(7, 24), "gain": gain}


def test_a_batch_norm_is_folded_into_the_weight_before_it():
    params = batch_norm()
    after, _ = equivalent.fold_norms(batch_normed, params, X)
    assert_same(batch_normed, params, after)
    by = jnp.where(params["gain"] == 0, 1, jnp.abs(params["gain"]))
    np.testing.assert_array_equal(after["gain"], jnp.sign(params["gain"]))
    np.testing.assert_allclose(after["a"], params["a"] * by[None], rtol=1e-5)
    np.testing.assert_allclose(after["mean"], params["mean"] * by, rtol=1e-5)
    np.testing.assert_array_equal(after["b"], params["b"])


def test_stacked_norms_are_folded_layer_by_layer():
    after, _ = equivalent.fold_norms(stack, LAYERS, X)
    assert_same(stack, LAYERS, after)
    np.testing.assert_array_equal(jnp.abs(after["scale"]), 1.0)


def test_a_scale_that_no_weight_can_take_is_told():
    def fn(p, x):
        return jnp.tanh(x * p["scale"][None]) @ p["kernel"]

    params = {"scale": normal(1, 16), "kernel": normal(2, 16, 4)}
    after, report = equivalent.fold_norms(fn, params, X)
    np.testing.assert_array_equal(after["scale"], params["scale"])
    assert report.leaves[1].reason == "a scale that no weight can take alone"


def rounded(params):
    """Weights in steps of a quarter."""
    weights = {name: params[name] for name in ("up", "down", "a", "b") if name in params}
    return params | {name: jnp.round(4 * leaf) / 4 for name, leaf in weights.items()}


BIASED = {"one": (model, ONE), "stack": (stack, LAYERS), "mean": (batch_normed, batch_norm())}


@pytest.mark.parametrize("name", BIASED)
def test_corrected_biases_restore_mean_outputs(name):
    fn, params = BIASED[name]
    x = X + 1.0
    small = rounded(params)
    after, report = equivalent.correct_biases(fn, params, small, [x[:32], x[32:]])
    corrected = {row.name for row in report.leaves if row.action == "corrected"}
    assert corrected == {"mean" if name == "mean" else "bias"}
    changed = [key for key in params if not np.array_equal(after[key], small[key])]
    assert set(changed) == corrected
    site = "a" if name == "mean" else "up"

    def mean_of(params):
        _, values = jc.graph.capture(fn, site)(params, x)
        bias = -params["mean"] if name == "mean" else params["bias"]
        return values[site].mean(axis=-2) + bias

    of = jax.jit(mean_of)
    exact, coarse, better = (of(each) for each in (params, small, after))
    # The first layer's means are exact; later layers meet inputs that stay rounded.
    np.testing.assert_allclose(better, exact, atol=1e-4 * float(jnp.abs(exact).max()))
    assert float(jnp.abs(coarse - exact).max()) > 1e-2


def test_weights_without_a_bias_are_told():
    after, report = equivalent.correct_biases(model, ONE, rounded(ONE), BATCHES)
    rows = {row.name: row for row in report.leaves}
    assert rows["down"].reason == "no bias is added to its outputs"
    assert rows["up"].reason == "its mean error goes into 'bias'"
    assert rows["scale"].reason == "is no bias of a rounded weight"
    assert jax.tree.structure(after) == jax.tree.structure(ONE)
