"""Quantization on data: order of layers, leaves without data, zeros, reports."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.left_out import BY_RULES
from jaxcompress.quantize import int4, int8, quantize, reconstruct
from jaxcompress.quantize.rounding import Rounded, coded
from jaxcompress.quantize.rounding.matrices import encoded, grid_of
from tests.inputs import on_device

DATA = np.random.default_rng(0)
X = jnp.asarray(DATA.normal(size=(40, 6)), jnp.float32)
TOKENS = jnp.arange(12).reshape(3, 4) % 5


def mlp(params, x):
    return jnp.tanh(x @ params["up"]) @ params["down"]


def stacked(params, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"])[0]


def looked_up(params, tokens):
    return params["table"][tokens] @ params["out"]


def normal(*shape):
    return on_device(DATA.normal(size=shape))


MLP = {"up": normal(6, 8), "down": normal(8, 3)}
LAYERS = {"layers": normal(3, 6, 6)}
TABLE = {"table": normal(5, 6), "out": normal(6, 3)}
MODELS = {
    "mlp": (mlp, MLP, X),
    "scanned": (stacked, LAYERS, X),
    "table": (looked_up, TABLE, TOKENS),
}


@pytest.mark.parametrize("spec", [int8(), int4(group_size=2)], ids=str)
@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_nearest_is_what_quantize_gives(case, spec):
    fn, params, x = case
    found, report = reconstruct(fn, params, [x], spec)
    expected, _ = quantize(params, spec, axes=jc.graph.axes(fn, params, x))
    for name, leaf in found.items():
        np.testing.assert_array_equal(leaf.unpacked_codes, expected[name].unpacked_codes)
    assert report.bytes_after == sum(leaf.size_bytes for leaf in found.values())


def moments(seen: list):
    """A rounding to nearest that notes the energy that each matrix meets."""

    def round(weight, second_moment, spec):
        jax.debug.callback(lambda h: seen.append(np.asarray(h)), jnp.diagonal(second_moment))
        on = grid_of(weight, spec, jc.quantize.ranges.min_max)
        return Rounded(encoded(weight, on, spec), on)

    return coded(round)


def test_later_layers_see_earlier_ones_as_quantized():
    seen: list = []
    found, _ = reconstruct(mlp, MLP, [X[:20], X[20:]], int4(), moments(seen))
    jax.effects_barrier()
    hidden = jnp.tanh(X @ found["up"].materialize())
    np.testing.assert_allclose(seen[0], np.mean(np.square(X), 0), rtol=1e-5)
    np.testing.assert_allclose(seen[1], np.mean(np.square(hidden), 0), rtol=1e-5)


def test_a_table_is_rounded_without_data_and_the_row_says_so():
    _, report = reconstruct(looked_up, TABLE, [TOKENS], int8())
    rows = {row.name: row.reason for row in report.leaves}
    assert rows["out"] == "rounded on its inputs"
    assert rows["table"].startswith("rounded without data: it meets gather")


def test_a_leaf_that_no_data_reach_is_rounded_without():
    quantized, report = reconstruct(mlp, MLP, [jnp.zeros((4, 6))], int8())
    assert all("no data reached it" in row.reason for row in report.leaves)
    assert all(isinstance(leaf, jc.QTensor) for leaf in quantized.values())


def routed(params, x):
    first = jnp.stack([x, jnp.zeros_like(x)], axis=1)  # (rows, experts, features)
    return jnp.einsum("bed,edf->bef", first, params["experts"]).sum(axis=1) @ params["out"]


# Of "dies" all that data meet rounds to 0 beside a weight that meets none.
EXPERTS = {"experts": jnp.stack([MLP["up"]] * 2), "out": MLP["down"]}
DIES = {"up": (MLP["up"] * 0.01).at[0].set(9.0), "down": MLP["down"]}
UNMET = {
    "an expert": (routed, EXPERTS, "experts", "rounded on its inputs; 1 of its 2 matrices met"),
    "all behind a leaf": (mlp, DIES, "down", "rounded without data; it met no input but 0"),
}


@pytest.mark.parametrize("case", UNMET.values(), ids=UNMET)
def test_matrices_that_meet_no_input_but_zeros_are_rounded_without_data(case):
    fn, params, name, reason = case
    x, gptq = X.at[:, 0].set(0), jc.quantize.rounding.gptq()
    held_out = jc.layerwise.held_out([x], shares=(0.0, 1.0))
    found, report = reconstruct(fn, params, [x], int4(), gptq, correction=held_out)
    (row,) = [row for row in report.leaves if row.name == name]
    assert row.reason.startswith(reason)
    alone, _ = jc.quantize.quantize(params, int4(), axes=jc.graph.axes(fn, params, x))
    last = np.s_[-1] if name == "experts" else np.s_[:]
    np.testing.assert_array_equal(found[name].materialize()[last], alone[name].materialize()[last])


def test_weights_that_were_pruned_stay_zero_under_a_correction():
    mask = DATA.random(size=(8, 3)) > 0.5
    params = MLP | {"down": MLP["down"] * mask}
    found, _ = reconstruct(mlp, params, [X], jc.quantize.formats.int2(), correction=1.0)
    assert not np.any(np.where(mask, 0, found["down"].materialize()))


def test_a_leaf_without_a_rule_stays_the_same_object():
    found, report = reconstruct(mlp, MLP, [X], jc.Rules({"down": int8()}))
    assert found["up"] is MLP["up"]
    assert report.leaves[1].reason == "no rule" or report.leaves[0].reason == "no rule"


def test_numpy_leaves_of_double_precision_are_rounded_as_programs_have_them():
    kernel = np.asarray(LAYERS["layers"][0], np.float64)
    found, report = reconstruct(lambda params, x: x @ params["w"], {"w": kernel}, [X], int8())
    assert found["w"].dtype == jnp.float32
    assert report.leaves[0].bytes_before == 4 * kernel.size


@pytest.mark.parametrize("batches", [[], [jnp.zeros((0, 6))]], ids=["none", "empty"])
def test_empty_calibration_is_refused(batches):
    with pytest.raises(ValueError, match=r"^reconstruct\(batches.* no (batch|example)"):
        reconstruct(mlp, MLP, batches, int8())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_and_data_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match=r"reconstruct.*'up'"):
        reconstruct(mlp, MLP | {"up": MLP["up"].at[0, 0].set(bad)}, [X], int8())
    with pytest.raises(ValueError, match=r"reconstruct.*'up'"):
        reconstruct(mlp, MLP, [X.at[0, 0].set(bad)], int8())


TUNING = jc.quantize.rounding.block_tuning(jax.random.key(0))
DYNAMIC = jc.quantize.execution.dynamic()
RULED = {
    "reconstruct": reconstruct,
    "reconstruct_blocks": functools.partial(jc.quantize.reconstruct_blocks, tuning=TUNING),
    "post_training": jc.quantize.post_training,
    "smooth": functools.partial(jc.quantize.equivalent.smooth, activations=DYNAMIC),
    "activation_aware": jc.quantize.equivalent.activation_aware,
}


@pytest.mark.parametrize("verb", RULED)
def test_verbs_without_a_selector_name_rules_as_the_mend(verb):
    rules = jc.Rules({"up": int4(group_size=4), "*": int8()})
    with pytest.raises(ValueError, match=rf"^{verb}: leaf 'up' was asked for by name") as error:
        RULED[verb](mlp, MLP, [X], rules)
    assert str(error.value).endswith("Sizes that do: 2, 3, 6. " + BY_RULES)
    with pytest.raises(ValueError, match=rf"^{verb}: no weight meets data in a dot"):
        RULED[verb](lambda params, x: x * params["scale"], {"scale": jnp.ones((1, 6))}, [X], int8())
