"""Products of data: their names, which operand is which, rewriting and observing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.rules import Rules
from jaxcompress.quantize.ranges import min_max
from tests.graph.zoo import llama, mlp, normal, tied_gpt

X, Y = normal(1, 3, 4, 5), normal(2, 3, 4, 5)


def scoped(x):
    with jax.named_scope("block"), jax.named_scope("mix"):
        return x @ x.mT


def in_a_call(x):
    with jax.named_scope("outer"):
        return jax.jit(lambda x: scoped(x) @ x)(x)


def in_a_gradient(x):
    return jax.grad(lambda x: jnp.sum(scoped(x) ** 2))(x)


def by_a_constant(x):
    return x @ np.eye(5, dtype=np.float32)


def convolved(x):
    return jax.lax.conv_general_dilated(
        x, x[:1], (1,), "SAME", dimension_numbers=("NHC", "OHI", "NHC")
    )


def in_turns(x):
    def turn(x, _):
        with jax.named_scope("turn"):
            return scoped(x) @ x, None

    return jax.lax.scan(turn, x, length=2)[0]


# The function of data, and the names of its products.
NAMES = {
    "no scope": (lambda x: x @ x.mT, ["@dot"]),
    "numbered": (lambda x: x @ x.mT @ x, ["@dot", "@dot#2"]),
    "scopes": (scoped, ["@block/mix/dot"]),
    "call": (in_a_call, ["@outer/block/mix/dot", "@outer/dot"]),
    "loop": (in_turns, ["@turn/block/mix/dot", "@turn/dot"]),
    "formula": (lambda x: jnp.einsum("bqd,bkd->bqk", x, x), ["@bqd,bkd->bqk"]),
    "formula of three": (
        lambda x: jnp.einsum("bqd,bkd,bkv->bqv", x, x, x),
        ["@bqd,bkd,bkv->bqv", "@bqd,bkd,bkv->bqv#2"],
    ),
    "mapped": (jax.vmap(lambda x: jnp.einsum("qd,kd->qk", x, x)), ["@qd,kd->qk"]),
    # What a gradient adds is named by the scope that it is the gradient of.
    "gradient": (in_a_gradient, ["@block/mix/dot", "@block/mix/dot#2", "@block/mix/dot#3"]),
    "constant": (by_a_constant, ["@dot"]),
    "convolution": (convolved, ["@conv"]),
    "entry by entry": (lambda x: x * x, []),
}


@pytest.mark.parametrize("case", NAMES)
def test_products_are_named_by_their_scopes(case):
    fn, expected = NAMES[case]
    program = graph.trace(lambda params, x: fn(x) + params, jnp.float32(0), X)
    assert [site.name for site in program.products] == expected
    assert not program.sites
    assert all(site.is_product for site in program.products)


def test_tracing_again_gives_the_same_names():
    """A rewritten model has the names of the model, however often it is traced."""
    model = llama()
    rewritten = graph.rewrite(model.fn, Rules({"@*": lambda site, apply, x, y: apply(x, y)}))
    names = [
        [site.name for site in graph.trace(fn, model.params, *model.inputs).products]
        for fn in (model.fn, rewritten, model.fn)
    ]
    assert names == [["@bqhd,bkhd->bhqk", "@bhqk,bkhd->bqhd"]] * 3


# Formulas whose dots JAX writes with swapped operands or another order of axes; sizes
# differ, so that shapes say which operand is which.
FORMULAS = {
    "bqd,bkd->bqk": ((3, 4, 5), (3, 6, 5)),
    "bqd,bkd->bkq": ((3, 4, 5), (3, 6, 5)),
    "qd,kd->kq": ((4, 5), (6, 5)),
    "qd,dk->qk": ((4, 5), (5, 6)),
    "bhqk,bkhd->bqhd": ((2, 3, 4, 5), (2, 5, 3, 6)),
    "...qhd,...khd->...hqk": ((2, 4, 3, 5), (2, 6, 3, 5)),
    "...hqk,...khd->...qhd": ((2, 3, 4, 5), (2, 5, 3, 6)),
    "td,te->de": ((4, 5), (4, 6)),
    "i,j->ji": ((4,), (5,)),
}


@pytest.mark.parametrize("mapped", [None, (0, 0), (0, None), (None, 0), (1, 0)])
def test_a_product_has_the_operands_and_the_result_of_its_formula(mapped):
    """Under `vmap` too, with the mapped axis where the program has it."""
    for formula, shapes in FORMULAS.items():
        product = functools.partial(jnp.einsum, formula)
        if mapped is not None:
            product = jax.vmap(product, mapped)
            shapes = [
                shape if axis is None else (*shape[:axis], 7, *shape[axis:])
                for shape, axis in zip(shapes, mapped, strict=True)
            ]
        operands = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        taken = graph.capture(
            lambda _, x, y, product=product: product(x, y), Rules({"@*": lambda *all_of: all_of})
        )
        outputs, values = jax.eval_shape(taken, jnp.zeros(()), *operands)
        (found,) = values.values()
        for ours, theirs in zip(found, (*operands, outputs), strict=True):
            assert sorted(ours.shape) == sorted(theirs.shape), formula
            assert mapped is not None or ours.shape == theirs.shape, formula


def test_products_are_rewritten_where_a_pattern_names_them():
    """Attention with logits of two bits less, as by hand."""
    model = tied_gpt()
    (ids,) = model.inputs

    def coarse(site, apply, queries, keys):
        return jnp.round(4 * apply(queries, keys)) / 4

    seen = []

    def by_hand(params, ids):
        def rounded(x, y):
            seen.append(x.shape)
            return jnp.round(4 * jnp.einsum("bqhd,bkhd->bhqk", x, y)) / 4

        x = params["embed"][ids] + params["positions"][: ids.shape[1]][None]
        for layer in params["layers"]:
            q, k, v = (e.reshape(2, 5, 2, 4) for e in jnp.split(x @ layer["qkv"], 3, axis=-1))
            causal = jnp.tril(jnp.ones((5, 5), bool))[None, None]
            weights = jax.nn.softmax(jnp.where(causal, rounded(q, k) / 2, -1e9), axis=-1)
            result = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(2, 5, 8)
            x = x + result @ layer["out"]
            x = x + jax.nn.gelu(x @ layer["up"]) @ layer["down"]
        return x @ params["embed"].T

    rewritten = graph.rewrite(model.fn, Rules({"@bqhd*": coarse}))
    ours, theirs = jax.jit(lambda *args: (rewritten(*args), by_hand(*args)))(model.params, ids)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert len(seen) == 2


def test_a_rule_for_every_weight_is_for_no_product():
    model, met = llama(), []

    def noted(site, apply, data, weight):
        met.append(site)
        return apply(data, weight)

    jax.eval_shape(graph.rewrite(model.fn, noted), model.params, *model.inputs)
    assert met
    assert not any(site.is_product for site in met)
    readings = jax.eval_shape(graph.observe(model.fn, min_max()), model.params, *model.inputs)[1]
    assert not [name for name in readings if name.startswith("@")]


def test_products_are_observed_one_reading_per_scanned_layer():
    """What the first operand of each layer's product holds."""
    model = llama()
    names = ["@bqhd,bkhd->bhqk", "@bhqk,bkhd->bqhd"]
    observed = graph.observe(model.fn, Rules({"@*": min_max()}))
    captured = graph.capture(model.fn, Rules({"@*": graph.inputs}))

    @jax.jit
    def everything(*args):
        return model.fn(*args), observed(*args), captured(*args)

    expected, (outputs, readings), (_, values) = everything(model.params, *model.inputs)
    np.testing.assert_array_equal(outputs, expected)
    assert set(readings) == set(values) == set(names)
    for name in names:
        layers = np.asarray(values[name]).reshape(2, -1, values[name].shape[-1])
        assert readings[name].high.shape == (2,)
        np.testing.assert_allclose(readings[name].high, layers.max((1, 2)), rtol=1e-6)


def test_a_pattern_without_a_product_raises():
    model = mlp()
    rewritten = graph.rewrite(model.fn, Rules({"@dot": lambda site, apply, x, y: apply(x, y)}))
    with pytest.raises(ValueError, match="'@dot' matches nothing; there is no product"):
        rewritten(model.params, *model.inputs)
