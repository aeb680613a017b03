"""Captured values: what a model's author would return by hand, and its gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress import graph
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.rules import Rules
from jaxcompress.quantize import fake_quantize_model, int8
from tests.graph.test_rewrite import quantized
from tests.graph.zoo import mlp, normal, tied_gpt

X = normal(3, 5, 4)
SEQUENCES = normal(4, 2, 5, 8)


class Case(NamedTuple):
    """A model, what to capture, and a model that returns the same values by hand.

    Attributes:
      by_hand: `by_hand(params, *inputs) -> values by site name`.
      around: what is done to the model and to what captures, as `jax.vmap`.
    """

    fn: Callable
    params: Any
    inputs: tuple
    sites: Any
    by_hand: Callable
    around: Callable = lambda fn: fn


def each_example(fn: Callable) -> Callable:
    return jax.vmap(fn, in_axes=(None, 0))


def features_of_a_mlp() -> Case:
    def by_hand(params, x):
        hidden, bias, output = params
        first = x @ hidden
        return {"0": first, "2": jax.nn.relu(first + bias[None]) @ output}

    model = mlp()
    return Case(model.fn, model.params, model.inputs, "*", by_hand)


def inputs_of_a_mlp() -> Case:
    def by_hand(params, x):
        return {"2": jax.nn.relu(x @ params[0] + params[1][None])}

    model = mlp()
    return Case(model.fn, model.params, model.inputs, Rules({"2": graph.inputs}), by_hand)


def both_of_a_mlp() -> Case:
    """A function of one's own says what is captured."""

    def by_hand(params, x):
        hidden = jax.nn.relu(x @ params[0] + params[1][None])
        return {"2": (hidden.mean(0), params[2], hidden @ params[2])}

    def taken(data, weight, output):
        return data.mean(0), weight, output

    model = mlp()
    return Case(model.fn, model.params, model.inputs, Rules({"2": taken}), by_hand)


def half_precision() -> Case:
    def by_hand(w, x):
        return {".": x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)}

    def fn(w, x):
        return by_hand(w, x)["."].astype(jnp.float32)

    return Case(fn, normal(1, 4, 6), (X,), "*", by_hand)


def linen_convolutions() -> Case:
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            first = nn.Conv(4, (3, 3), strides=2, use_bias=False, name="first")(x)
            second = nn.Conv(4, (1, 1), use_bias=False, name="second")(nn.relu(first))
            y = nn.Dense(3, name="head")(second.mean((1, 2)))
            return y, {"first/kernel": first, "second/kernel": second}

    network, x = Network(), normal(4, 2, 4, 4, 3)
    params = network.init(jax.random.key(0), x)
    sites = ["first/*", "second/*"]
    return Case(
        lambda params, x: network.apply(params, x)[0],
        params,
        (x,),
        sites,
        lambda params, x: network.apply(params, x)[1],
    )


def attended(q, k, v):
    """Attention by hand: logits, probabilities, what they sum up."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    weights = jax.nn.softmax(logits, axis=-1)
    return logits, weights, jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def linen_attention() -> Case:
    """Foreign code: Flax's own layer, whose two products are named by its formulas."""
    nn = pytest.importorskip("flax.linen")
    layer = nn.MultiHeadDotProductAttention(num_heads=2)
    params = layer.init(jax.random.key(0), SEQUENCES)

    def by_hand(params, x):
        p = params["params"]
        q, k, v = (
            jnp.einsum("bsi,ihd->bshd", x, p[name]["kernel"]) + p[name]["bias"][None, None]
            for name in ("query", "key", "value")
        )
        logits, _, result = attended(q / 2, k, v)
        scope = "@MultiHeadDotProductAttention"
        return {
            "out/kernel": jnp.einsum("bshd,hdo->bso", result, p["out"]["kernel"]),
            f"{scope}/...qhd,...khd->...hqk": logits,
            f"{scope}/...hqk,...khd->...qhd": result,
        }

    return Case(layer.apply, params, (SEQUENCES,), ["out/*", "@*"], by_hand)


def nnx_attention() -> Case:
    """Foreign code: the probabilities of an NNX layer, one group of heads at a time."""
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0))
    static, params, others = nnx.split(layer, nnx.Param, ...)

    def fn(params, x):
        return nnx.merge(static, params, others)(x)

    def by_hand(params, x):
        layer = nnx.merge(static, params, others)
        _, weights, _ = attended(layer.query(x) / 2, layer.key(x), layer.value(x))
        return {"@BNTS,BSNH->BTNH": weights[None]}  # JAX maps over groups of heads

    rules = Rules({"@BNTS*": graph.inputs})
    return Case(fn, params, (SEQUENCES,), rules, by_hand)


def equinox_attention() -> Case:
    """Foreign code: the function of one example, mapped after capturing."""
    eqx = pytest.importorskip("equinox")
    layer = eqx.nn.MultiheadAttention(2, 8, key=jax.random.key(0))
    params, static = eqx.partition(layer, eqx.is_array)

    def one(params, x):
        layer = eqx.combine(params, static)
        return layer(x, x, x)

    def by_hand(params, x):
        layer = eqx.combine(params, static)
        projections = (layer.query_proj, layer.key_proj, layer.value_proj)
        q, k, v = ((x @ each.weight.T).reshape(2, 5, 2, 4) for each in projections)
        logits, _, _ = attended(q / 2, k, v)
        return {"@eqx.nn.MultiheadAttention/sd,Sd->sS": logits}

    return Case(one, params, (SEQUENCES,), "@*sd,Sd->sS", by_hand, each_example)


def haiku_attention() -> Case:
    """Foreign code: Haiku's layer."""
    hk = pytest.importorskip("haiku")

    def layer(x):
        return hk.MultiHeadAttention(2, 4, w_init=hk.initializers.RandomNormal())(x, x, x)

    network = hk.without_apply_rng(hk.transform(layer))
    params = network.init(jax.random.key(0), SEQUENCES)

    def by_hand(params, x):
        p = {name.rpartition("/")[2]: leaf for name, leaf in params.items()}
        q, k, v = (
            (x @ p[name]["w"] + p[name]["b"][None, None]).reshape(2, 5, 2, 4)
            for name in ("query", "key", "value")
        )
        return {"@multi_head_attention/...thd,...Thd->...htT": attended(q, k, v)[0]}

    return Case(network.apply, params, (SEQUENCES,), "@*->...htT", by_hand)


def tied_table() -> Case:
    """Two sites of one leaf, and products that differ by their number alone."""
    model = tied_gpt()

    def by_hand(params, ids):
        x = params["embed"][ids] + params["positions"][: ids.shape[1]][None]
        values = {"embed": params["embed"][ids]}
        for i, layer in enumerate(params["layers"]):
            q, k, v = (e.reshape(2, 5, 2, 4) for e in jnp.split(x @ layer["qkv"], 3, axis=-1))
            logits = jnp.einsum("bqhd,bkhd->bhqk", q, k)
            masked = jnp.where(jnp.tril(jnp.ones((5, 5), bool))[None, None], logits / 2, -1e9)
            result = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(masked, axis=-1), v)
            values["@bqhd,bkhd->bhqk" + "#2" * i] = logits
            x = x + result.reshape(2, 5, 8) @ layer["out"]
            x = x + jax.nn.gelu(x @ layer["up"]) @ layer["down"]
        return {**values, "embed#2": x @ params["embed"].T}

    return Case(model.fn, model.params, model.inputs, ["embed*", "@bqhd*"], by_hand)


def layers_in_a_scan() -> Case:
    """A rematerialised layer in a scan: weights' sites and a product, all stacked."""

    def layer(x, params):
        mixed = jnp.tanh(x @ params["in"])
        gram = mixed @ mixed.T
        return gram @ x @ params["out"], (x @ params["in"], gram)

    def fn(params, x):
        return jax.lax.scan(jax.checkpoint(lambda x, p: (layer(x, p)[0], None)), x, params)[0]

    def by_hand(params, x):
        first, gram = jax.lax.scan(layer, x, params)[1]
        return {"in": first, "@dot": gram}

    params = {"in": normal(1, 3, 4, 6), "out": normal(2, 3, 4, 4)}
    return Case(fn, params, (X,), ["in", "@dot"], by_hand)


def steps_of_time() -> Case:
    """A scan that slices no leaf: one value per turn all the same."""

    def fn(w, x):
        return jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x[None]), None), x[:1] * 0, x)[0]

    def by_hand(w, x):
        def step(h, x):
            return jnp.tanh(h @ w + x[None]), h @ w

        return {".": jax.lax.scan(step, x[:1] * 0, x)[1]}

    return Case(fn, normal(1, 4, 4), (X,), ".", by_hand)


def scan_in_a_scan() -> Case:
    def turns(params, x):
        def outer(x, stack):
            return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), x @ w), x, stack)

        return jax.lax.scan(outer, x, params)

    params = normal(1, 2, 3, 4, 4)
    return Case(lambda p, x: turns(p, x)[0], params, (X,), ".", lambda p, x: {".": turns(p, x)[1]})


def calls_in_calls() -> Case:
    @jax.jit
    def dense(x, w):
        return jnp.tanh(x @ w)

    def fn(params, x):
        return jax.jit(lambda x: dense(dense(x, params["a"]), params["b"]))(x).sum()

    def by_hand(params, x):
        return {"b": dense(x, params["a"]) @ params["b"]}

    return Case(fn, {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}, (X,), "b", by_hand)


def mapped_inside() -> Case:
    """A layer mapped over examples in the model: the value as the program has it."""

    def fn(w, x):
        return jax.vmap(lambda x: jnp.sin(w @ x))(x)

    return Case(fn, normal(1, 6, 4), (X,), ".", lambda w, x: {".": w @ x.T})


def taken_branch() -> Case:
    """What a branch gives that was not taken is zeros."""

    def fn(params, x):
        return jax.lax.cond(
            x.sum() > 0, lambda x: x @ params["a"], lambda x: jnp.sin(x @ params["b"]), x
        )

    def by_hand(params, x):
        positive = x.sum() > 0
        values = {name: x @ params[name] for name in params}
        return {
            "a": jnp.where(positive, values["a"], 0),
            "b": jnp.where(positive, 0, values["b"]),
        }

    return Case(fn, {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}, (X,), "*", by_hand)


def examples_in_branches() -> Case:
    """Mapped over examples, each has its own branch."""
    case = taken_branch()
    by_hand = each_example(case.by_hand)
    return Case(case.fn, case.params, (normal(5, 3, 2, 4),), "*", by_hand, each_example)


def activations_with_a_rule() -> Case:
    """A custom derivative between the sites is kept: straight-through, not zero."""

    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    rounded.defvjp(lambda x: (rounded(x), None), lambda _, g: (g,))

    def by_hand(params, x):
        return {"b": rounded(x @ params["a"]) @ params["b"]}

    def fn(params, x):
        return jax.nn.relu(by_hand(params, x)["b"])

    return Case(fn, {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}, (X,), "b", by_hand)


def formula_of_a_weight() -> Case:
    """An einsum's value is what its formula says, not how the dot underneath lies."""

    def by_hand(w, x):
        return {".": jnp.einsum("bsi,ihd->hbds", x, w)}

    return Case(
        lambda w, x: by_hand(w, x)["."].sum(), normal(1, 8, 2, 4), (SEQUENCES,), ".", by_hand
    )


CASES = [
    features_of_a_mlp,
    inputs_of_a_mlp,
    both_of_a_mlp,
    half_precision,
    linen_convolutions,
    linen_attention,
    nnx_attention,
    equinox_attention,
    haiku_attention,
    tied_table,
    layers_in_a_scan,
    steps_of_time,
    scan_in_a_scan,
    calls_in_calls,
    mapped_inside,
    taken_branch,
    examples_in_branches,
    activations_with_a_rule,
    formula_of_a_weight,
]


def differentiable(tree):
    """The leaves that have a gradient, by position."""
    leaves = enumerate(jax.tree.leaves(tree))
    return {i: leaf for i, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)}


def total(values) -> jax.Array:
    leaves = jax.tree.leaves(values)
    return sum((jnp.sum(jnp.sin(x.astype(jnp.float32) + 1)) for x in leaves), jnp.float32(0))


def assert_near(ours, theirs):
    """The same products in another order, through a few layers."""
    tolerance = 1e-5 if ours.dtype == jnp.float32 else float(jnp.finfo(ours.dtype).eps)
    np.testing.assert_allclose(
        *(np.float32(x) for x in (ours, theirs)), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_values_and_gradients_are_those_returned_by_hand(case):
    case = case()
    model, captured = map(case.around, (case.fn, graph.capture(case.fn, case.sites)))
    arguments = (case.params, *case.inputs)
    leaves, structure = jax.tree.flatten(arguments)

    def derived(fn):
        """The outputs and values that a function gives, and gradients of values."""

        def loss(variables):
            replaced = [variables.get(i, leaf) for i, leaf in enumerate(leaves)]
            outputs, values = fn(*jax.tree.unflatten(structure, replaced))
            return total(values), (outputs, values)

        gradients, (outputs, values) = jax.grad(loss, has_aux=True)(differentiable(leaves))
        return outputs, values, gradients

    def by_hand(*arguments):
        return model(*arguments), case.by_hand(*arguments)

    ours, theirs = jax.jit(lambda: (derived(captured), derived(by_hand)))()
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), results) for results in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert any(gradient.any() for gradient in ours[2].values())
    jax.tree.map(assert_near, ours, theirs)


@jax.custom_jvp
def by_jvp(x, w):
    return x @ w


by_jvp.defjvp(lambda primals, tangents: (by_jvp(*primals), tangents[0] @ primals[1]))


@jax.custom_vjp
def by_vjp(x, w):
    return x @ w


by_vjp.defvjp(lambda x, w: (x @ w, (x, w)), lambda r, g: (g @ r[1].T, r[0].T @ g))


def turned(x, w):
    return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] @ w), (0, x))[1]


LOST = {
    "custom_jvp": (by_jvp, "a custom derivative"),
    "custom_vjp": (by_vjp, "a custom derivative"),
    "while": (turned, "a while loop"),
    "a call in a scan": (
        lambda x, w: jax.lax.scan(lambda x, _: (jax.jit(by_jvp)(x, w), None), x, length=2)[0],
        "a custom derivative",
    ),
}


@pytest.mark.parametrize("way", LOST)
def test_a_value_that_would_lose_its_gradient_is_refused(way):
    product, reason = LOST[way]

    def fn(params, x):
        return product(x @ params["before"], params["inside"])

    params = {"before": normal(1, 4, 4), "inside": normal(2, 4, 4)}
    with pytest.raises(ValueError, match=f"'inside' lies in {reason}.*Capture a site outside"):
        graph.capture(fn, "*")(params, X)
    assert graph.capture(fn, "before")(params, X)[1].keys() == {"before"}


UNMATCHED = {
    "a pattern": ("1", r"'1' matches nothing. Names are: 0, 2"),
    "one of several": (["0", "1"], r"'1' matches nothing. Names are: 0, 2"),
    "a product": ("@*", r"'@\*' matches nothing; there is no product"),
}


@pytest.mark.parametrize("case", UNMATCHED)
def test_a_pattern_without_a_site_raises(case):
    sites, message = UNMATCHED[case]
    model = mlp()
    with pytest.raises(ValueError, match=message):
        graph.capture(model.fn, sites)(model.params, *model.inputs)


def test_patterns_of_products_list_products_and_those_of_weights_no_product():
    model = tied_gpt()
    with pytest.raises(ValueError, match=r"'@b' matches nothing. Names are: @bqhd,bkhd->bhqk, @"):
        graph.capture(model.fn, "@b")(model.params, *model.inputs)
    values = jax.eval_shape(graph.capture(model.fn, "*"), model.params, *model.inputs)[1]
    assert not [name for name in values if name.startswith("@")]


def test_a_model_without_weights_has_nothing_to_capture():
    with pytest.raises(ValueError, match="no weight meets data"):
        graph.capture(lambda params, x: x + params, "*")(X, X)


def test_second_derivatives_are_those_of_the_formula():
    def fn(w, x):
        return jnp.tanh(jnp.sin(x @ w) @ w).sum()

    def slope(of, w):
        return jnp.sum(jax.grad(lambda w: jnp.sum(of(w) ** 3))(w) ** 2)

    captured = graph.capture(fn, ".#2")
    ours, theirs = (
        jax.jit(jax.grad(lambda w, of=of: slope(of, w)))(normal(1, 4, 4))
        for of in (lambda w: captured(w, X)[1][".#2"], lambda w: jnp.sin(X @ w) @ w)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_train_step_traces_once():
    model, calls = tied_gpt(), []

    def fn(params, ids):
        calls.append(ids.shape)
        return model.fn(params, ids)

    hints = graph.capture(fn, ["layers/*/out", "@bhqk*"])

    @jax.jit
    def step(params, ids):
        def loss(params):
            logits, values = hints(params, ids)
            return jnp.mean(logits**2) + total(values)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    params = model.params
    for _ in range(3):
        params = step(params, *model.inputs)
    assert len(calls) == 1


def test_compressed_leaves_are_formed_for_what_is_captured():
    leaf = quantized(normal(1, 4, 6), LeafAxes((0,), (1,)))
    outputs, values = graph.capture(lambda w, x: jnp.sin(x @ w), ".")(leaf, X)
    np.testing.assert_allclose(values["."], X @ leaf.materialize(), rtol=1e-6)
    np.testing.assert_array_equal(outputs, jnp.sin(values["."]))
    outputs, values = graph.capture(lambda w, x: x @ w, ())(leaf, X)
    np.testing.assert_allclose(outputs, X @ leaf.materialize(), rtol=1e-6)


def test_a_captured_model_can_be_rewritten_and_a_rewritten_one_captured():
    model = mlp()

    def double(site, apply, data, weight):
        return 2 * apply(data, weight)

    first = graph.rewrite(graph.capture(model.fn, "2"), Rules({"0": double}))
    second = graph.capture(graph.rewrite(model.fn, Rules({"0": double})), "2")
    expected = model.fn((2 * model.params[0], *model.params[1:]), *model.inputs)
    for captured in (first, second):
        outputs, values = captured(model.params, *model.inputs)
        np.testing.assert_array_equal(values["2"], outputs)
        np.testing.assert_allclose(outputs, expected, rtol=1e-6)


def test_of_a_model_on_codes_values_are_captured_before_it_is_quantized():
    """A product of codes has its own derivative, where values would lose theirs."""

    def by_hand(params, x):
        features = jnp.tanh(x @ params["a"]) @ params["b"]
        return jax.nn.relu(features), {"b": features}

    def fn(params, x):
        return by_hand(params, x)[0]

    params = {"a": normal(1, 4, 6), "b": normal(2, 6, 3)}
    with pytest.raises(ValueError, match=r"'b' lies in a custom derivative"):
        graph.capture(fake_quantize_model(fn, int8()), "b")(params, X)

    def derived(model):
        quantized_model = fake_quantize_model(model, int8())

        def loss(params):
            outputs, values = quantized_model(params, X)
            return total(values), (outputs, values)

        return jax.grad(loss, has_aux=True)(params)

    ours, theirs = jax.jit(lambda: (derived(graph.capture(fn, "b")), derived(by_hand)))()
    assert all(gradient.any() for gradient in ours[0].values())
    jax.tree.map(assert_near, ours, theirs)


@pytest.mark.parametrize("checked", [True, False])
def test_in_a_shard_map_there_is_one_value_per_device(mesh, checked):
    grid = mesh(data=4)

    def body(w, x):
        hidden = x @ w
        taken = jax.lax.cond(hidden.sum() > 0, lambda h: h @ w, lambda h: h, hidden)
        return jax.lax.pmean(taken.sum(), "data")

    def fn(w, x):
        return jax.shard_map(
            body,
            mesh=grid,
            in_specs=(PartitionSpec(), PartitionSpec("data")),
            out_specs=PartitionSpec(),
            check_vma=checked,
        )(w, x)

    def by_hand(w, x):
        first = x.reshape(4, 2, 4) @ w
        return first, jnp.where(first.sum((1, 2), keepdims=True) > 0, first @ w, 0)

    def derived(values_of):
        def loss(arguments):
            values = values_of(*arguments)
            return total(values), values

        return jax.jit(jax.grad(loss, has_aux=True))((normal(1, 4, 4), normal(2, 8, 4)))

    captured = graph.capture(fn, "*")
    ours = derived(lambda w, x: tuple(captured(w, x)[1].values()))
    jax.tree.map(assert_near, ours, derived(by_hand))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_values_have_the_sharding_of_the_program(mesh, axis_type):
    grid = mesh(data=4, model=2, axis_type=axis_type)

    def place(x, *spec):
        return jax.device_put(x, NamedSharding(grid, PartitionSpec(*spec)))

    def by_hand(w, x):
        product = x @ w
        return jax.lax.cond(
            x.sum() < 99, lambda: (jnp.sin(product), product), lambda: (product,) * 2
        )

    def fn(w, x):
        return jax.lax.cond(x.sum() < 99, lambda: jnp.sin(x @ w), lambda: x @ w)

    arguments = place(normal(1, 4, 6), None, "model"), place(normal(2, 8, 4), "data", None)
    with jax.set_mesh(grid):
        outputs, values = jax.jit(graph.capture(fn, "*"))(*arguments)
        expected, product = jax.jit(by_hand)(*arguments)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    taken = {name for name, value in values.items() if value.any()}
    assert len(taken) == 1
    (name,) = taken
    assert values[name].sharding.is_equivalent_to(product.sharding, 2)
    np.testing.assert_allclose(values[name], product, rtol=1e-6)
