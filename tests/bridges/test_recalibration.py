"""Recalibration against means and variances taken by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxcompress as jc

EPS = float(np.finfo(np.float32).eps)


class Normed(linen.Module):
    momentum: float

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.BatchNorm(use_running_average=not train, momentum=self.momentum, name="one")(x)
        x = linen.Dense(4, name="dense")(x)
        return linen.BatchNorm(use_running_average=not train, momentum=self.momentum, name="two")(x)


class NormedNNX(nnx.Module):
    def __init__(self, momentum, rngs):
        self.one = nnx.BatchNorm(3, momentum=momentum, rngs=rngs)
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.two = nnx.BatchNorm(4, momentum=momentum, rngs=rngs)

    def __call__(self, x):
        return self.two(self.dense(self.one(x)))


def from_linen(momentum, x):
    module = Normed(momentum)
    variables = module.init(jax.random.key(0), x, train=False)
    return jc.bridges.linen.functional(
        module, variables, evaluation={"train": False}, training={"train": True}
    )


def from_nnx(momentum, x):
    return jc.bridges.nnx.functional(NormedNNX(momentum, nnx.Rngs(0)))


def leaf(params, name):
    (found,) = (leaf for key, leaf in jc.named_leaves(params).items() if key.endswith(name))
    return np.asarray(found)


def by_hand(params, batches):
    """Mean and variance of what meets each norm: the plain average over batches."""
    kernel, bias = (
        leaf(params, name).astype(np.float64) for name in ("dense/kernel", "dense/bias")
    )
    statistics = {"one/mean": [], "one/var": [], "two/mean": [], "two/var": []}
    for (x,) in batches:
        x = np.asarray(x, np.float64)
        statistics["one/mean"].append(x.mean(0))
        statistics["one/var"].append(x.var(0))
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) @ kernel + bias
        statistics["two/mean"].append(x.mean(0))
        statistics["two/var"].append(x.var(0))
    return {name: np.mean(values, axis=0) for name, values in statistics.items()}


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("bridge", [from_linen, from_nnx])
def test_statistics_are_the_plain_average_of_the_batches(bridge, momentum, batches, key):
    model = bridge(momentum, batches[0][0])
    params = jc.recalibrate(model.train_fn, model.params, batches, key=key)
    assert jax.tree.structure(params) == jax.tree.structure(model.params)
    # The momentum's rounding, and a dozen roundings of E[x²] − E[x]², below 200.
    tolerance = 2 * EPS / (1 - momentum) + 12 * EPS
    for name, expected in by_hand(model.params, batches).items():
        scale = np.abs(expected).max() + 200 * (name == "one/var")
        np.testing.assert_allclose(
            leaf(params, name), expected, atol=tolerance * max(scale, 1), rtol=0, err_msg=name
        )
    for name in ("dense/kernel", "dense/bias", "one/scale", "two/bias"):
        np.testing.assert_array_equal(leaf(params, name), leaf(model.params, name))


def test_old_statistics_leave_no_trace(batches, key):
    model = from_nnx(0.9, batches[0][0])
    _, moved = model.train_fn(model.params, 1e6 * batches[0][0], key=key)
    one, two = (
        jc.recalibrate(model.train_fn, params, batches, key=key) for params in (model.params, moved)
    )
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_statistics_that_fit_the_first_batch_are_still_found(key):
    """The mean of the first batch is the stored one, so it does not move there."""

    def train_fn(params, x, key):
        return x, {"mean": 0.5 * params["mean"] + 0.5 * x.mean(0)}

    batches = [(jnp.array([[1.0], [-1.0]]),), (jnp.array([[4.0], [6.0]]),)]
    params = jc.recalibrate(train_fn, {"mean": jnp.zeros(1)}, batches, key=key)
    np.testing.assert_array_equal(params["mean"], [2.5])


def test_a_generator_is_read_once_and_traced_once(batches, key):
    model = from_linen(0.9, batches[0][0])
    traces = []

    def train_fn(params, x, key):
        traces.append(1)
        return model.train_fn(params, x, key=key)

    streamed = jc.recalibrate(train_fn, model.params, iter(batches), key=key)
    listed = jc.recalibrate(model.train_fn, model.params, batches, key=key)
    jax.tree.map(np.testing.assert_array_equal, streamed, listed)
    assert len(traces) == 1


def test_quantized_leaves_and_integers_are_left_as_they_are(batches, quantized, key):
    model = from_nnx(0.9, batches[0][0])
    params = quantized(model.params)
    new = jc.recalibrate(model.train_fn, params, batches, key=key)
    assert jax.tree.structure(new) == jax.tree.structure(params)
    jax.tree.map(
        np.testing.assert_array_equal, new["dense"]["kernel"][...], params["dense"]["kernel"][...]
    )
    assert (leaf(new, "two/mean") != 0).all()

    def count(params, x, key):
        return x, {"steps": params["steps"] + 1}

    params = {"steps": jnp.array(3)}
    assert jc.recalibrate(count, params, batches, key=key) == params


def test_a_model_without_statistics_is_left_as_it_is(batches, key):
    params = {"kernel": jnp.ones((3, 2))}
    new = jc.recalibrate(
        lambda params, x, key: (x @ params["kernel"], params), params, batches, key=key
    )
    assert new["kernel"] is params["kernel"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_statistics_keep_their_dtype(dtype, batches, key):
    def train_fn(params, x, key):
        return x, {"mean": (0.5 * params["mean"] + 0.5 * x.mean(0)).astype(dtype)}

    params = jc.recalibrate(train_fn, {"mean": jnp.zeros(3, dtype)}, batches, key=key)
    assert params["mean"].dtype == dtype
    expected = np.mean([np.asarray(x).mean(0) for (x,) in batches], axis=0)
    # Each batch and the result are rounded once; the momentum is a power of two.
    tolerance = 2 * float(jnp.finfo(dtype).eps) * max(np.abs(x).max() for (x,) in batches)
    np.testing.assert_allclose(params["mean"].astype(np.float32), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    "move",
    [
        lambda old, x: jnp.maximum(old, x.max()),
        lambda old, x: old + x.mean(),
        lambda old, x: 2 * old,
        lambda old, x: jnp.sqrt(jnp.abs(old)) + x.mean(),
        lambda old, x: jnp.full_like(old, jnp.nan),
    ],
    ids=["maximum", "sum", "growth", "root", "nan"],
)
def test_what_is_no_running_average_is_named(move, batches, key):
    def train_fn(params, x, key):
        return x, {"largest": move(params["largest"], x)}

    with pytest.raises(ValueError, match=r"recalibrate\(train_fn\): leaf 'largest' moves"):
        jc.recalibrate(train_fn, {"largest": jnp.ones(1)}, batches, key=key)


@pytest.mark.parametrize("place", [0, 1])
def test_a_batch_of_what_is_not_finite_is_named(place, batches, key):
    model = from_linen(0.9, batches[0][0])
    batches[place] = (batches[place][0].at[2].set(jnp.nan),)
    said = rf"batches=\): batch {place}. The inputs at '0' hold NaN or infinity .* is example 2"
    with pytest.raises(ValueError, match=said):
        jc.recalibrate(model.train_fn, model.params, batches, key=key)


def test_a_batch_is_a_tuple_of_inputs(batches, key):
    train_fn = from_nnx(0.9, batches[0][0]).train_fn
    with pytest.raises(TypeError, match=r"batch 0 is of type ArrayImpl.*\(x,\)"):
        jc.recalibrate(train_fn, {}, [jnp.ones((2, 3))], key=key)
    with pytest.raises(ValueError, match=r"recalibrate\(batches=\) is empty"):
        jc.recalibrate(train_fn, {}, [], key=key)
