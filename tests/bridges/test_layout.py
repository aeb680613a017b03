"""Params in another tree than the module's, and what is none of its params."""

import itertools
import re

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcompress as jc

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
WIDTHS = 3, *[4] * 11, 2  # of 12 layers: as texts, "10" comes before "2"


def from_nnx():
    rngs = nnx.Rngs(0)
    layers = [nnx.Linear(*sizes, rngs=rngs) for sizes in itertools.pairwise(WIDTHS)]
    return jc.bridges.nnx.functional(nnx.Sequential(*layers))


def from_equinox():
    return jc.bridges.equinox.functional(eqx.nn.MLP(3, 2, 4, 11, key=jax.random.key(0)))


def from_equinox_with_state():
    class Net(eqx.Module):
        linear: eqx.nn.Linear
        norm: eqx.nn.BatchNorm

        def __init__(self, key):
            self.linear = eqx.nn.Linear(3, 2, key=key)
            self.norm = eqx.nn.BatchNorm(2, "batch", mode="ema")

        def __call__(self, x, state):
            return self.norm(self.linear(x), state)

    return jc.bridges.equinox.stateful(*eqx.nn.make_with_state(Net)(jax.random.key(0)))


BRIDGES = [from_nnx, from_equinox, from_equinox_with_state]


@pytest.mark.parametrize("bridge", BRIDGES)
def test_leaves_go_by_their_names(bridge, tmp_path):
    model = bridge()
    jc.storage.save(tmp_path / "model.safetensors", model.params)
    flat = dict(sorted(jc.named_leaves(model.params).items()))
    for params in (jc.storage.load(tmp_path / "model.safetensors"), flat):
        np.testing.assert_array_equal(model.fn(params, X), model.fn(model.params, X))
        restored, own = jax.tree.leaves(model.restore(params)), model.restore(model.params)
        for one, other in zip(restored, jax.tree.leaves(own), strict=True):
            assert one is other or np.array_equal(one, other)
        outputs, after = model.train_fn(params, X, key=jax.random.key(0))
        _, expected = model.train_fn(model.params, X, key=jax.random.key(0))
        assert outputs.shape == (4, 2)
        assert jax.tree.structure(after) == jax.tree.structure(params)
        now = jc.named_leaves(after)
        for name, leaf in jc.named_leaves(expected).items():
            np.testing.assert_array_equal(now[name], leaf)


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("called", ["fn", "train_fn", "restore"])
def test_other_leaves_are_refused_by_name(bridge, called):
    model = bridge()
    call = {
        "fn": lambda params: model.fn(params, X),
        "train_fn": lambda params: model.train_fn(params, X, key=jax.random.key(0)),
        "restore": model.restore,
    }[called]
    names = list(jc.named_leaves(model.params))
    flat = jc.named_leaves(model.params)
    wrong = [
        ({"l": jnp.ones(2)}, f"has no leaf {names[0]!r}, which the module has. Pass the params"),
        ({**flat, "more": jnp.ones(2)}, "has a leaf 'more', which the module has not"),
    ]
    for params, said in wrong:
        with pytest.raises(ValueError, match=re.escape(f"{called}(params=...) {said}")):
            call(params)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_module_is_not_made_of_other_shapes(bridge):
    model = bridge()
    name, leaf = next(iter(jc.named_leaves(model.params).items()))
    deeper = jax.tree.map(lambda leaf: leaf[..., None], model.params)
    said = (
        rf"restore\(params=...\): leaf '{name}' has shape .*1\), and {re.escape(str(leaf.shape))}"
    )
    with pytest.raises(ValueError, match=said):
        model.restore(deeper)


def test_a_module_in_place_of_its_params_is_refused():
    model = from_nnx()
    module = model.restore(model.params)
    with pytest.raises(
        TypeError, match=r"^nnx: fn\(params=Sequential\) is a module. Pass the para"
    ):
        jc.validate.evaluate(model.fn, module, X, jnp.zeros(4, int))


def test_the_state_of_a_haiku_function_is_not_left_out():
    norm = hk.transform_with_state(lambda x: hk.BatchNorm(True, True, 0.9)(x, True))
    model = jc.bridges.haiku.stateful(norm, *norm.init(jax.random.key(0), X))
    for call in (model.restore, lambda params: model.fn(params, X)):
        with pytest.raises(ValueError, match="must be of the parts 'params' and 'state'"):
            call(model.params["params"])
