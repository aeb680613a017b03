"""`materialized`: right for every model code, framework and transformation.

The oracle is always the same function on the arrays that the leaves stand for.
"""

import functools
import inspect
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.quantize import int4, int8, quantize
from jaxcompress.quantize.formats import uint8
from tests.inputs import DENSE, INT4, corrected, on_device, qtensor, rotated

EPSILON = float(np.finfo(np.float32).eps)


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def low_rank(left, right):
    return jc.LowRank.from_factors(left, right, dtype=jnp.float32, axes=DENSE)


KERNEL = normal(8, 8)
LEAVES = {
    "int8": quantize({"w": KERNEL}, int8())[0]["w"],
    "uint8": quantize({"w": KERNEL}, uint8())[0]["w"],
    "int4 groups": quantize({"w": KERNEL}, int4(group_size=4))[0]["w"],
    "low rank": low_rank(normal(8, 2, seed=1), normal(2, 8, seed=2)),
    "low rank codes": low_rank(
        qtensor(INT4, (8, 2), (8, 1), LeafAxes((1,), (0,))),
        qtensor(INT4, (2, 8), (2, 1), LeafAxes((1,), (0,)), seed=1),
    ),
    "rotated correction": rotated(corrected(qtensor(INT4, (8, 8), (8, 1), DENSE), DENSE), DENSE, 4),
}
X = normal(3, 8, seed=3)


# Model code that maps over the tree of params: wrong, in silence or not, on the leaves.


def spread_out(params, x):
    """An L2 penalty beside the output, over all leaves of the tree."""
    return x @ params["w"], sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def averaged(params, x):
    other = jax.tree.map(jnp.zeros_like, params)
    return x @ optax.incremental_update(params, other, 0.5)["w"]


def normalized(params, x):
    return x @ jax.tree.map(lambda a: a / jnp.linalg.norm(a), params)["w"]


def cast(params, x):
    policy = pytest.importorskip("jmp").get_policy("params=float32,compute=bfloat16,output=float32")
    params, x = policy.cast_to_compute((params, x))
    return x @ params["w"]


MAPPING = {
    "negated": lambda p, x: x @ jax.tree.map(lambda a: -a, p)["w"],
    "clipped": lambda p, x: x @ jax.tree.map(lambda a: jnp.clip(a, -0.1, 0.1), p)["w"],
    "masked": lambda p, x: x @ jax.tree.map(lambda a: jnp.where(a > 0, a, 0), p)["w"],
    "half": lambda p, x: x @ jax.tree.map(lambda a: a.astype(jnp.bfloat16), p)["w"],
    "a policy": cast,
    "an L2 penalty": spread_out,
    "an average": averaged,
    "normalized": normalized,
    "by optax": lambda p, x: x @ optax.tree.scale(3.0, p)["w"],
    "to one vector": lambda p, x: (x @ p["w"], jax.flatten_util.ravel_pytree(p)[0]),
    "by a primitive": lambda p, x: jax.lax.dot(x, p["w"]),
}


def assert_same(found, expected, terms=64):
    """Sums of so many terms may be taken in another order; each output rounds once."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        rounding = terms * EPSILON + float(jnp.finfo(other.dtype).eps)
        size = rounding * max(1.0, float(jnp.max(jnp.abs(other))))
        assert one.dtype == other.dtype
        one, other = (np.asarray(x, np.float32) for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=0, atol=size)


@pytest.mark.parametrize("name", MAPPING)
def test_model_code_that_maps_over_the_tree(name):
    fn, kinds = MAPPING[name], {kind: LEAVES[kind] for kind in ("int8", "low rank")}
    found = jax.jit(lambda kinds: {k: jc.materialized(fn)({"w": w}, X) for k, w in kinds.items()})
    plain = jax.jit(lambda kinds: {k: fn({"w": w}, X) for k, w in kinds.items()})
    assert_same(found(kinds), plain(jc.materialize(kinds)))


@pytest.mark.parametrize("name", ["negated", "half", "an L2 penalty", "by a primitive"])
def test_the_rewritten_program_is_right_for_it_too(name):
    fn, params = MAPPING[name], {"w": LEAVES["int8"]}

    def arrays_win(calls):
        return {call: 0.5 if call == "materialized" else 1.0 for call in calls}

    plan = jc.quantize.plan_execution(fn, params, X, probe=arrays_win)
    assert_same(jc.quantize.run(fn, plan)(params, X), fn(jc.materialize(params), X))


# Transformations.


def layer(params, x, *, slope=1.0):
    """A layer with a plain leaf beside the compressed one."""
    return slope * (x @ params["w"] + params["b"])


def scanned(params, x):
    """Stacked layers, scanned inside the model."""
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["stack"])[0]


STACK = quantize({"w": normal(3, 8, 8)}, int4(), axes={"w": LeafAxes((1,), (2,), (0,))})[0]["w"]


def by_plain_leaves(model, params):
    trainable, frozen = jc.partition(params, jc.matching("b"))

    def loss(trainable):
        return jnp.sum(model(jc.combine(trainable, frozen), X) ** 2)

    return jax.grad(loss)(trainable)


def layer_by_layer(model, params):
    def step(x, w):
        return jnp.tanh(model({**params, "w": w}, x)), None

    return jax.lax.scan(step, X, params["stack"])[0]


class Way(NamedTuple):
    name: str
    call: object  # (model, params) -> outputs
    model: object = layer


WAYS = [
    Way("plainly", lambda fn, p: fn(p, X)),
    Way("with keywords", lambda fn, p: fn(x=X, params=p, slope=2.0)),
    Way("under jit", lambda fn, p: jax.jit(fn)(p, X)),
    Way("static", lambda fn, p: jax.jit(fn, static_argnames="slope")(p, X, slope=2.0)),
    Way("remat", lambda fn, p: jax.grad(lambda x: jax.checkpoint(fn)(p, x).sum())(X)),
    Way("by inputs", lambda fn, p: jax.grad(lambda x: jnp.sum(fn(p, x) ** 2))(X)),
    Way("by plain leaves", by_plain_leaves),
    Way("forward", lambda fn, p: jax.jvp(lambda x: fn(p, x), (X,), (2 * X,))),
    Way("examples", lambda fn, p: jax.vmap(fn, (None, 0))(p, X)),
    Way("stacked models", lambda fn, p: jax.vmap(lambda w: fn({**p, "w": w}, X))(p["stack"])),
    Way("scanned inside", lambda fn, p: fn(p, X), scanned),
    Way("layer by layer", layer_by_layer),
]


@pytest.mark.parametrize("kind", ["uint8", "int4 groups", "low rank codes", "rotated correction"])
def test_every_way_to_use_a_model(kind):
    params = {"w": LEAVES[kind], "b": normal(8, seed=4), "stack": STACK}

    def every_way(wrap, params):
        with jax.numpy_rank_promotion("allow"):
            return {way.name: way.call(wrap(way.model), params) for way in WAYS}

    found = jax.jit(functools.partial(every_way, jc.materialized))(params)
    expected = jax.jit(functools.partial(every_way, lambda fn: fn))(jc.materialize(params))
    assert_same(found, expected)


def test_the_wrapper_is_the_function_to_who_looks_at_it():
    wrapped = jc.materialized(layer)
    assert (wrapped.__name__, wrapped.__doc__) == (layer.__name__, layer.__doc__)
    assert inspect.signature(wrapped) == inspect.signature(layer)


def squared(params, x):
    return (x @ params["w"]) ** 2


def test_without_a_compressed_leaf_nothing_changes():
    given = ({"w": X}, [None, "text", 3], object())
    received, keyword = jc.materialized(lambda *args, **kwargs: (args, kwargs))(*given, key=given)
    assert all(one is other for one, other in zip(received, given, strict=True))
    assert keyword["key"] is given
    one, other = (jax.make_jaxpr(fn)({"w": X.T}, X) for fn in (jc.materialized(squared), squared))
    assert str(one) == str(other)


def test_the_arrays_are_formed_inside_the_call():
    """The compiled program takes codes and scales, and no array of weights."""
    leaf = quantize({"w": normal(64, 64)}, int8())[0]["w"]
    compiled = jax.jit(jc.materialized(squared)).lower({"w": leaf}, normal(1, 64)).compile()
    assert compiled.memory_analysis().argument_size_in_bytes == leaf.size_bytes + 64 * 4


# Frameworks: modules that map over their params, and layers that call `lax` themselves.


class Model(NamedTuple):
    fn: object
    params: object
    x: object = X


def linen_negated(nn):
    negated = nn.map_variables(
        nn.Dense, "params", lambda variables: jax.tree.map(jnp.negative, variables), init=True
    )
    return linen(negated(5))


def linen_scan_over_the_last_axis(nn):
    def block(module, x, _):
        return nn.tanh(nn.Dense(8, use_bias=False, parent=module)(x)), None

    class Layers(nn.Module):
        @nn.compact
        def __call__(self, x):
            scan = nn.scan(block, {"params": 1}, split_rngs={"params": True}, length=3)
            return scan(self, x, None)[0]

    return linen(Layers())


def linen(module, x=X, **keywords):
    variables = module.init(jax.random.key(0), x, **keywords)
    return Model(lambda variables, x: module.apply(variables, x, **keywords), variables, x)


def nnx_module(nnx):
    model = nnx.Sequential(nnx.Linear(8, 5, rngs=nnx.Rngs(0)), jnp.tanh)
    graph, params = nnx.split(model)
    return Model(lambda params, x: nnx.merge(graph, jax.tree.map(jnp.negative, params))(x), params)


def equinox_convolution(eqx):
    model = eqx.nn.Conv1d(3, 4, 3, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)
    return Model(lambda params, x: jc.combine(params, static)(x), params)


def haiku_convolution(hk):
    model = hk.without_apply_rng(hk.transform(lambda x: hk.Conv1D(4, 3)(x[None])))
    return Model(model.apply, model.init(jax.random.key(0), X))


FRAMEWORKS = {
    "map_variables": ("flax.linen", linen_negated),
    "spectral norm": (
        "flax.linen",
        lambda nn: linen(nn.SpectralNorm(nn.Dense(5)), update_stats=False),
    ),
    "weight norm": ("flax.linen", lambda nn: linen(nn.WeightNorm(nn.Dense(5)))),
    "scan over the second axis": ("flax.linen", linen_scan_over_the_last_axis),
    "nnx": ("flax.nnx", nnx_module),
    "equinox": ("equinox", equinox_convolution),
    "haiku": ("haiku", haiku_convolution),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_frameworks(name):
    framework, model = FRAMEWORKS[name]
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="flax")
        fn, params, x = model(pytest.importorskip(framework))
        small, report = quantize(params, int8())
        assert any(leaf.changed for leaf in report.leaves)
        assert_same(jax.jit(jc.materialized(fn))(small, x), jax.jit(fn)(jc.materialize(small), x))


def test_a_module_may_be_the_function_or_an_argument():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(8, 5, 6, 1, key=jax.random.key(0))
    arrays, static = eqx.partition(model, eqx.is_array)
    small = eqx.combine(static, quantize(arrays, int8())[0])
    expected = eqx.combine(static, jc.materialize(quantize(arrays, int8())[0]))(X[0])
    assert_same(jc.materialized(small)(X[0]), expected)
    assert_same(eqx.filter_jit(jc.materialized(lambda m, x: m(x)))(small, X[0]), expected)


def test_an_nnx_module_may_be_an_argument():
    nnx = pytest.importorskip("flax.nnx")
    bridge = jc.bridges.nnx.functional(nnx.Linear(8, 5, rngs=nnx.Rngs(0)))
    small, _ = quantize(bridge.params, int8())
    with jax.numpy_rank_promotion("allow"):
        found = jc.materialized(lambda module, x: module(x))(bridge.restore(small), X)
        assert_same(found, bridge.fn(jc.materialize(small), X))
