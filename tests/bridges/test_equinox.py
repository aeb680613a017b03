"""Equinox modules as pure functions, and smaller modules with the right numbers."""

import dataclasses
import fnmatch
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from tests.inputs import on_device

eqx = pytest.importorskip("equinox")
bridge = jc.bridges.equinox

EPS = float(np.finfo(np.float32).eps)
KEY = jax.random.key(0)


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


def filled(factory: Callable):
    """What the factory makes, with numbers that NumPy draws, which compiles nothing."""
    shapes = eqx.filter_eval_shape(factory)
    generator = np.random.default_rng(0)

    def numbers(leaf):
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        return jnp.asarray(generator.uniform(-1, 1, leaf.shape), leaf.dtype)

    return jax.tree.map(numbers, shapes)


class Small(NamedTuple):
    """A removal that is not checked: what `structure.remove` gives, but its report."""

    fn: Any
    params: Any
    removal: jc.graph.Removal


def half_of(model, *inputs, select="*", divisors=jc.graph.Divisors.KEPT) -> Small:
    """The model without the first half of each family's units."""
    coupled = jc.graph.couplings(model.fn, model.params, *inputs)
    chosen = [f for f in coupled.families if fnmatch.fnmatch(f.name, select)]
    assert chosen
    removal = coupled.removal({family.name: range(family.size // 2) for family in chosen})
    removal = dataclasses.replace(removal, divisors=divisors)
    params = jc.graph.surgery.slice_params(model.params, removal)
    return Small(jc.graph.surgery.shrink(model.fn, removal), params, removal)


def mlp():
    return eqx.nn.MLP(3, 2, 8, depth=2, key=KEY)


class Images(eqx.Module):
    """Convolutions, one in groups, and a norm in groups that lose nothing."""

    first: eqx.nn.Conv2d
    depthwise: eqx.nn.Conv2d
    up: eqx.nn.ConvTranspose2d
    last: eqx.nn.Conv2d

    def __init__(self):
        self.first = eqx.nn.Conv2d(3, 8, 3, key=KEY)
        self.depthwise = eqx.nn.Conv2d(8, 8, 3, groups=8, padding=1, key=KEY)
        self.up = eqx.nn.ConvTranspose2d(8, 4, 2, key=KEY)
        self.last = eqx.nn.Conv2d(4, 2, 1, key=KEY)

    def __call__(self, x):
        return self.last(jnp.tanh(self.up(jnp.tanh(self.depthwise(jnp.tanh(self.first(x)))))))


class Attention(eqx.Module):
    """A table, attention, a head; a row of tokens at a time."""

    embed: eqx.nn.Embedding
    mix: eqx.nn.MultiheadAttention
    out: eqx.nn.Linear

    def __init__(self):
        self.embed = eqx.nn.Embedding(7, 16, key=KEY)
        self.mix = eqx.nn.MultiheadAttention(4, 16, key=KEY)
        self.out = eqx.nn.Linear(16, 2, key=KEY)

    def __call__(self, ids):
        x = jax.vmap(self.embed)(ids)
        return jax.vmap(self.out)(x + self.mix(x, x, x))


class Recurrent(eqx.Module):
    """A dense layer, a cell over time, and a head."""

    into: eqx.nn.Linear
    cell: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __init__(self):
        self.into = eqx.nn.Linear(3, 6, key=KEY)
        self.cell = eqx.nn.GRUCell(6, 4, key=KEY)
        self.out = eqx.nn.Linear(4, 2, key=KEY)

    def __call__(self, x):
        x = jnp.tanh(jax.vmap(self.into)(x))
        start = jnp.zeros(self.cell.hidden_size)
        last, _ = jax.lax.scan(lambda h, x: (self.cell(x, h), None), start, x)
        return self.out(last)


class Normed(eqx.Module):
    """A norm over a width that something else gives."""

    into: eqx.nn.Linear
    norm: eqx.Module
    out: eqx.nn.Linear

    def __init__(self, norm: Callable):
        self.into = eqx.nn.Linear(3, 8, key=KEY)
        self.norm = norm(8)
        self.out = eqx.nn.Linear(8, 2, key=KEY)

    def __call__(self, x):
        return self.out(self.norm(self.into(x)))


class Heads(eqx.Module):
    """Attention by hand: the number of heads is the module's own field."""

    weigh: eqx.nn.Linear
    value: eqx.nn.Linear
    out: eqx.nn.Linear
    heads: int = eqx.field(static=True)

    def __init__(self):
        self.weigh, self.value, self.out = (eqx.nn.Linear(8, 8, key=KEY) for _ in range(3))
        self.heads = 4

    def __call__(self, x):
        weigh, value = (jax.vmap(f)(x).reshape(5, self.heads, 2) for f in (self.weigh, self.value))
        return jax.vmap(self.out)((jax.nn.softmax(weigh, axis=0) * value).reshape(5, -1))


class Case(NamedTuple):
    """A module, a batch, what loses half, fields after, and your own fields."""

    factory: Callable
    inputs: tuple
    select: str
    fields: dict[str, Any]
    sizes: dict[str, Any]


CASES = {
    "mlp": Case(
        mlp,
        (normal(1, 5, 3),),
        "*",
        {
            "./width_size": 4,
            "layers/0/out_features": 4,
            "layers/1/in_features": 4,
            "layers/1/out_features": 4,
            "layers/2/in_features": 4,
        },
        {},
    ),
    "convolutions": Case(
        Images,
        (normal(2, 2, 3, 6, 6),),
        "*",
        {
            "first/out_channels": 4,
            "depthwise/in_channels": 4,
            "depthwise/out_channels": 4,
            "depthwise/groups": 4,
            "up/in_channels": 4,
            "up/out_channels": 2,
            "last/in_channels": 2,
        },
        {},
    ),
    "attention": Case(
        Attention,
        (jnp.array([[1, 2, 3], [4, 5, 0]]),),
        "mix/query_proj/weight:0",
        {
            "mix/num_heads": 2,
            "mix/query_proj/out_features": 8,
            "mix/key_proj/out_features": 8,
            "mix/value_proj/out_features": 8,
            "mix/output_proj/in_features": 8,
        },
        {},
    ),
    "recurrent": Case(
        Recurrent,
        (normal(3, 2, 4, 3),),
        "*",
        {
            "into/out_features": 3,
            "cell/input_size": 3,
            "cell/hidden_size": 2,
            "out/in_features": 2,
        },
        {},
    ),
    "your own heads": Case(
        Heads,
        (normal(4, 2, 5, 8),),
        "weigh/weight:0",
        {
            "weigh/out_features": 4,
            "value/out_features": 4,
            "out/in_features": 4,
            "./heads": 2,
        },
        {"heads": 2},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_smaller_module_has_fields_that_fit_and_the_programs_numbers(name):
    case = CASES[name]
    model = filled(case.factory)
    removed = half_of(bridge.functional(model), *case.inputs, select=case.select)
    small = bridge.shrunk(model, removed, *case.inputs, sizes=case.sizes)
    assert small.difference <= 64 * EPS
    assert {f"{row.path}/{row.field}": row.after for row in small.sizes.changed} == case.fields
    leaves = jc.named_leaves(eqx.filter(small.module, eqx.is_inexact_array))
    expected = jc.named_leaves(removed.params)
    assert leaves.keys() == expected.keys()
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(leaf, expected[name])


NORMS = {
    "layer norm": eqx.nn.LayerNorm,
    "root mean square norm": eqx.nn.RMSNorm,
    "group norm": lambda width: eqx.nn.GroupNorm(1, width),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_over_removed_units_fits_new_divisors_and_no_others(name):
    model, x = filled(lambda: Normed(NORMS[name])), normal(5, 5, 3)
    start = bridge.functional(model)
    kept, new = (half_of(start, x, divisors=each) for each in jc.graph.Divisors)
    with pytest.raises(ArithmeticError, match=r"equinox.shrunk: on this batch the module differs"):
        bridge.shrunk(model, kept, x)
    small = bridge.shrunk(model, new, x)
    assert small.difference <= 64 * EPS
    norm = small.module.norm
    assert norm.channels == 4 if name == "group norm" else norm.shape == (4,)


class Statistics(eqx.Module):
    into: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    out: eqx.nn.Linear

    def __init__(self):
        self.into = eqx.nn.Linear(3, 8, key=KEY)
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
        self.drop = eqx.nn.Dropout(0.5)
        self.out = eqx.nn.Linear(8, 2, key=KEY)

    def __call__(self, x, state, key=None):
        x, state = self.norm(self.into(x), state)
        return self.out(self.drop(jnp.tanh(x), key=key)), state


def test_statistics_train_recalibrate_and_shrink():
    module, state = eqx.nn.make_with_state(Statistics)()
    x = 3 + normal(6, 16, 3)
    model = bridge.stateful(module, state)
    outputs, new = model.train_fn(model.params, x, key=KEY)
    other, _ = model.train_fn(model.params, x, key=jax.random.key(1))
    assert outputs.shape == (16, 2)
    assert (outputs != other).any()
    assert jax.tree.structure(new) == jax.tree.structure(model.params)
    params = jc.recalibrate(model.train_fn, model.params, [(x,), (2 * x,)], key=KEY)
    moved = {
        name: leaf
        for name, leaf in jc.named_leaves(params).items()
        if not np.array_equal(leaf, jc.named_leaves(model.params)[name])
    }
    assert sorted(moved) == sorted(name for name in jc.named_leaves(params) if "state/" in name)
    module, state = model.restore(params)
    start = bridge.stateful(module, state)
    removed = half_of(start, x)
    small = bridge.shrunk_stateful(module, state, removed, x)
    assert small.difference <= 64 * EPS
    smaller, _ = small.module
    assert smaller.norm.input_size == smaller.into.out_features == 4
    shapes = jax.eval_shape(lambda: start.params)
    again = jc.structure.replay(start.fn, shapes, x, removal=removed.removal)
    other = bridge.shrunk_stateful(module, state, again._replace(params=removed.params), x)
    assert eqx.tree_equal(other.module, small.module)
    twice = again._replace(removal=(removed.removal, removed.removal))
    with pytest.raises(TypeError, match="is of 2 removals one after the other"):
        bridge.shrunk_stateful(module, state, twice, x)
    with pytest.raises(ValueError, match=r"Call equinox\.shrunk_stateful\(model, state, removed"):
        bridge.shrunk(module, removed, x)
    with pytest.raises(ValueError, match=r"shrunk_stateful\(.*nowhere"):
        bridge.shrunk_stateful(module, state, removed, x, sizes={"nowhere/size": 4})


def test_keys_reach_each_example_and_evaluation_is_the_modules_own():
    model = eqx.nn.Sequential([eqx.nn.Linear(3, 4, key=KEY), eqx.nn.Dropout(0.5)])
    start, x = bridge.functional(model), jnp.ones((6, 3))
    np.testing.assert_array_equal(
        start.fn(start.params, x), jax.vmap(eqx.nn.inference_mode(model))(x)
    )
    outputs, _ = start.train_fn(start.params, x, key=KEY)
    assert len(np.unique(np.asarray(outputs), axis=0)) > 1
    assert not start.restore(start.params).layers[1].inference


def test_compressed_leaves_go_in_anywhere():
    model = filled(lambda: eqx.nn.Conv1d(3, 4, 2, key=KEY))
    start, x = bridge.functional(model), normal(2, 2, 3, 5)
    small, _ = jc.quantize.quantize(start.params, jc.quantize.int8(), select=jc.matching("weight"))
    np.testing.assert_array_equal(start.fn(small, x), start.fn(jc.materialize(small), x))
    assert isinstance(start.restore(small).weight, jc.QTensor)


def test_what_does_not_fit_is_refused():
    model, x = mlp(), normal(1, 5, 3)
    removed = half_of(bridge.functional(model), x)
    other = eqx.nn.MLP(3, 2, 6, depth=2, key=KEY)
    with pytest.raises(ValueError, match=r"equinox.shrunk: leaf 'layers/0/weight' has shape"):
        bridge.shrunk(other, removed, x)
    with pytest.raises(ValueError, match=r"equinox.shrunk\(sizes=\{'layers/9/heads': 2\}\) names"):
        bridge.shrunk(model, removed, x, sizes={"layers/9/heads": 2})
    heads = filled(Heads)
    tokens = normal(4, 2, 5, 8)
    removed = half_of(bridge.functional(heads), tokens, select="weigh/weight:0")
    with pytest.raises(ValueError, match=r"Give sizes= .* heads = 4"):
        bridge.shrunk(heads, removed, tokens)


class Pictured(eqx.Module):
    """A convolution, a batch norm and, where it has a key, noise."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout

    def __init__(self):
        self.conv = eqx.nn.Conv2d(1, 4, 3, key=KEY)
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="batch")
        self.drop = eqx.nn.Dropout(0.5)

    def __call__(self, image, state, *, key=None):
        image, state = self.norm(self.conv(image), state)
        return self.drop(image, key=key).mean((1, 2)), state


STATEFUL = bridge.stateful(*eqx.nn.make_with_state(Pictured)())
STATELESS = bridge.functional(eqx.nn.Conv2d(1, 4, 3, key=KEY))
ONE = {
    "evaluated": lambda x: STATEFUL.fn(STATEFUL.params, x),
    "trained": lambda x: STATEFUL.train_fn(STATEFUL.params, x, key=KEY)[0],
    "traced": lambda x: jax.eval_shape(STATEFUL.fn, STATEFUL.params, x),
    "without state": lambda x: STATELESS.fn(STATELESS.params, x),
    "axes": lambda x: jc.graph.axes(STATEFUL.fn, STATEFUL.params, x),
}


@pytest.mark.parametrize("call", ONE.values(), ids=ONE)
def test_one_example_without_a_batch_is_refused_in_words(call):
    image = normal(0, 1, 8, 8)
    said = r"equinox\.each_example\w*\(inputs of shape \(1, 8, 8\)\): .*Pass x\[None\]"
    with pytest.raises(ValueError, match=said):
        call(image)
    call(image[None])


def test_other_faults_are_the_models_own():
    with pytest.raises(ValueError, match="needs to have rank 3"):
        STATEFUL.fn(STATEFUL.params, normal(0, 2, 8))
