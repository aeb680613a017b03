"""Replacements: what a rule is given, where compressed leaves go, what stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress import graph
from jaxcompress.core.axes import LeafAxes, to_canonical
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.leaf import CompressedLeaf, is_compressed, materialize
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from tests.graph.zoo import custom_derivatives, mlp, normal

INT8 = QuantSpec(Integers(8, -127, 127, symmetric=True))
X = normal(3, 5, 4)


def identity(site, apply, data, weight):
    return apply(data, weight)


def quantized(leaf: jax.Array, axes: LeafAxes) -> QTensor:
    stored = to_canonical(leaf, axes)
    contracting = tuple(range(-len(axes.contracting), 0))
    scale = jnp.max(jnp.abs(stored), axis=contracting, keepdims=True) / 127
    codes = jnp.round(stored / scale).astype(jnp.int8)
    return QTensor.from_codes(codes, Grid(scale), spec=INT8, dtype=leaf.dtype, axes=axes)


def switched(x, w):
    return jax.lax.switch(jnp.int32(1), [lambda x, w: x, lambda x, w: x @ w], x, w)


def counted(x, w):
    return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] @ w), (0, x))[1]


def carried(x, w):
    return jax.lax.fori_loop(0, 2, lambda _, c: (c[0] @ c[1], c[1]), (x, w))[0]


def scanned(x, w):
    return jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]


def unrolled_pair(x, w):
    return jax.lax.scan(lambda x, w: (x @ w, x), x, w, unroll=2, reverse=True)[0]


@jax.custom_jvp
def custom(x, w):
    return x @ w


@custom.defjvp
def _custom_derivative(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    return custom(x, w), dx @ w + x @ dw


@jax.custom_vjp
def straight(x, w):
    return jnp.round(x @ w)


straight.defvjp(lambda x, w: (straight(x, w), (x, w)), lambda r, g: (g @ r[1].T, r[0].T @ g))

SQUARE = LeafAxes((0,), (1,))
# What the compressed leaf passes through, the leaf's shape and axes.
WAYS = {
    "dot": (lambda x, w: x @ w, (4, 6), SQUARE),
    "transpose": (lambda x, w: x @ w.T, (6, 4), LeafAxes((1,), (0,))),
    "cast": (lambda x, w: x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16), (4, 6), SQUARE),
    "left": (lambda x, w: w @ x.T, (6, 4), LeafAxes((1,), (0,))),
    "jit": (jax.jit(lambda x, w: x @ w), (4, 6), SQUARE),
    "remat": (jax.checkpoint(lambda x, w: jnp.sin(x @ w)), (4, 6), SQUARE),
    "branch": (switched, (4, 4), SQUARE),
    "loop": (counted, (4, 4), SQUARE),
    "carry": (carried, (4, 4), SQUARE),
    "scan": (scanned, (3, 4, 4), LeafAxes((1,), (2,), (0,))),
    "scan with options": (unrolled_pair, (4, 4, 4), LeafAxes((1,), (2,), (0,))),
    "custom_jvp": (custom, (4, 6), SQUARE),
    "custom_vjp": (straight, (4, 6), SQUARE),
    "convolution": (
        lambda x, w: jax.lax.conv_general_dilated(
            x[None], w, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")
        ),
        (3, 4, 6),
        LeafAxes((0, 1), (2,)),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_compressed_leaf_arrives_as_it_is_stored(way):
    apply_to, shape, axes = WAYS[way]
    leaf = quantized(normal(1, *shape), axes)
    arrived = []

    def rule(site, apply, data, weight):
        arrived.append(weight)
        return apply(data, weight)

    def fn(w, x):
        return apply_to(x, w)

    actual = jax.jit(graph.rewrite(fn, rule))(leaf, X)
    np.testing.assert_array_equal(actual, jax.jit(lambda w, x: fn(materialize(w), x))(leaf, X))
    assert arrived
    for weight in arrived:
        assert isinstance(weight, QTensor)
        assert weight.codes.dtype == jnp.int8


# A leaf that is formed on the way, since nothing else would be right.
FORMED = {
    "arithmetic": (lambda x, w: x @ (2 * w), (4, 6), SQUARE),
    "reshape": (lambda x, w: x @ w.reshape(4, 6), (2, 2, 6), LeafAxes((0, 1), (2,))),
    "changed carry": (
        lambda x, w: jax.lax.fori_loop(0, 2, lambda _, c: (c[0] @ w, c[1] * 2), (x, w))[0],
        (4, 4),
        SQUARE,
    ),
    # Stored with the output first, so its arrays cannot be sliced by layer.
    "scan over an inner axis": (scanned, (3, 4, 4), LeafAxes((0, 1), (2,))),
}


@pytest.mark.parametrize("way", FORMED)
def test_elsewhere_the_array_is_formed(way):
    apply_to, shape, axes = FORMED[way]
    leaf = quantized(normal(1, *shape), axes)

    def fn(w, x):
        return apply_to(x, w)

    actual = jax.jit(graph.rewrite(fn, identity))(leaf, X)
    np.testing.assert_array_equal(actual, jax.jit(lambda w, x: fn(materialize(w), x))(leaf, X))


def test_a_leaf_without_a_rule_is_formed_beside_one_that_has_one():
    params = {"a": quantized(normal(1, 4, 4), SQUARE), "b": quantized(normal(2, 4, 4), SQUARE)}
    arrived = {}

    def rule(site, apply, data, weight):
        arrived[site.name] = weight
        return apply(data, weight)

    def fn(params, x):
        return (x @ params["a"]) @ params["b"]

    actual = graph.rewrite(fn, Rules({"a": rule}))(params, X)
    np.testing.assert_array_equal(actual, fn(materialize(params), X))
    assert set(arrived) == {"a"}
    assert is_compressed(arrived["a"])


def test_a_model_without_sites_still_takes_compressed_leaves():
    def fn(w, x):
        return x + w.sum()

    leaf = quantized(normal(1, 4, 6), SQUARE)
    np.testing.assert_array_equal(graph.rewrite(fn, identity)(leaf, X), fn(leaf.materialize(), X))


def test_a_compressed_output_is_formed():
    def fn(w, x):
        return w.T, x @ w

    leaf = quantized(normal(1, 4, 6), SQUARE)
    transposed, _ = graph.rewrite(fn, identity)(leaf, X)
    assert not isinstance(transposed, CompressedLeaf)
    np.testing.assert_array_equal(transposed, leaf.materialize().T)


def test_apply_changes_parameters_of_the_equation():
    def integers(site, apply, data, weight):
        product = apply(
            jnp.round(data).astype(jnp.int8), weight.codes, preferred_element_type=jnp.int32
        )
        assert product.dtype == jnp.int32
        return product.astype(site.dtype)

    leaf = quantized(normal(1, 4, 4), LeafAxes((1,), (0,)))  # codes lie as the operand does

    def fn(w, x):
        return x @ w.T

    actual = graph.rewrite(fn, lambda s, a, d, w: integers(s, a, d, w.transpose((1, 0))))(leaf, X)
    expected = np.round(np.asarray(X)) @ np.asarray(leaf.codes, np.float32)
    np.testing.assert_array_equal(actual, expected)


def test_only_chosen_leaves_are_replaced():
    model = mlp()
    seen = []

    def zero(site, apply, data, weight):
        seen.append(site.name)
        return jnp.zeros(site.output_shape, site.dtype)

    outputs = graph.rewrite(model.fn, Rules({"2": zero}))(model.params, *model.inputs)
    assert seen == ["2"]
    assert not outputs.any()


def test_a_rewritten_model_can_be_rewritten():
    model = mlp()

    def double(site, apply, data, weight):
        return 2 * apply(data, weight)

    once = graph.rewrite(model.fn, Rules({"2": double}))
    twice = graph.rewrite(once, Rules({"2": double}))
    np.testing.assert_array_equal(
        twice(model.params, *model.inputs), 4 * model.fn(model.params, *model.inputs)
    )


def test_inside_a_custom_derivative_only_the_forward_pass_is_replaced():
    model = custom_derivatives()
    rewritten = graph.rewrite(model.fn, lambda site, apply, data, weight: 0 * apply(data, weight))

    def loss(fn):
        return lambda w: fn({"a": model.params["a"], "b": w}, *model.inputs).sum()

    weight = model.params["b"]
    assert loss(rewritten)(weight) == 0
    # What meets the weight now is sin(0), so its straight-through gradient is zero. The
    # gradient of the data goes through the weight as it ever did.
    assert not jax.grad(loss(rewritten))(weight).any()
    by_data = jax.grad(lambda x: rewritten(model.params, x).sum())(model.inputs[0])
    upstream = jnp.ones((3, 4)) @ weight.T
    np.testing.assert_allclose(by_data, 2 * upstream @ model.params["a"].T, rtol=1e-6)


def test_second_derivatives_are_those_of_the_model():
    model = custom_derivatives()

    def second(fn):
        def loss(params):
            return jnp.sum(fn(params, *model.inputs) ** 3)

        def slope(params):
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(params)))

        return jax.jit(jax.grad(slope))(model.params)

    ours, theirs = second(graph.rewrite(model.fn, identity)), second(model.fn)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


def by_jvp(a, b, w):
    return (a * b) @ w


def by_vjp(a, b, w):
    return (a * b) @ w


by_jvp = jax.custom_jvp(by_jvp)
by_jvp.defjvp(lambda p, t: (by_jvp(*p), (2 * t[0] * p[1] + 3 * p[0] * t[1]) @ p[2]))
by_vjp = jax.custom_vjp(by_vjp)
by_vjp.defvjp(
    lambda a, b, w: (by_vjp(a, b, w), (a, b, w)),
    lambda r, g: (2 * (g @ r[2].T) * r[1], 3 * (g @ r[2].T) * r[0], (r[0] * r[1]).T @ g),
)


@pytest.mark.parametrize("product", [by_jvp, by_vjp])
def test_an_operand_that_a_custom_derivative_takes_twice(product):
    def gradient(fn):
        return jax.grad(lambda x: jnp.sum(fn(normal(1, 4, 6), x)))(X)

    def fn(w, x):
        return product(x, x, w)

    expected = gradient(fn)
    np.testing.assert_allclose(gradient(graph.rewrite(fn, identity)), expected, rtol=1e-6)
    upstream = jnp.ones((5, 6)) @ normal(1, 4, 6).T
    np.testing.assert_allclose(expected, 5 * upstream * X, rtol=1e-5)


def test_name_scopes_stay():
    def fn(w, x):
        with jax.named_scope("head"):
            return jax.jit(lambda x: jnp.sin(x @ w))(x)

    def scopes(fn):
        text = jax.jit(fn).lower(normal(1, 4, 4), X).as_text(debug_info=True)
        return {part for part in text.split('"') if "head/" in part}

    assert scopes(fn)
    assert scopes(graph.rewrite(fn, identity)) == scopes(fn)


def test_effects_happen_once_and_in_order(capfd):
    def fn(w, x):
        jax.debug.print("first", ordered=True)
        x = x @ w
        jax.debug.print("second", ordered=True)
        return x

    jax.block_until_ready(jax.jit(graph.rewrite(fn, identity))(normal(1, 4, 4), X))
    jax.effects_barrier()
    assert capfd.readouterr().out.split() == ["first", "second"]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_shardings_stay(mesh, axis_type):
    grid = mesh(data=4, model=2, axis_type=axis_type)

    def place(x, *spec):
        return jax.device_put(x, NamedSharding(grid, PartitionSpec(*spec)))

    def fn(params, x):
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"])
        return jax.jit(jax.nn.relu)(x @ params["wide"])

    params = {
        "layers": place(normal(1, 3, 4, 4), None, None, None),
        "wide": place(normal(2, 4, 6), None, "model"),
    }
    x = place(normal(3, 8, 4), "data", None)

    def run(fn):
        outputs = jax.jit(fn)(params, x)
        gradients = jax.jit(jax.grad(lambda params: jnp.sum(fn(params, x) ** 2)))(params)
        return jax.tree.leaves((outputs, gradients))

    for ours, theirs in zip(run(graph.rewrite(fn, identity)), run(fn), strict=True):
        assert ours.sharding == theirs.sharding
        np.testing.assert_array_equal(ours, theirs)


def test_a_replacement_of_another_shape_or_dtype_raises():
    model = mlp()
    narrow = graph.rewrite(model.fn, lambda s, apply, x, w: apply(x, w).astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"site '0' returned bfloat16 of shape \(5, 8\)"):
        narrow(model.params, *model.inputs)
    short = graph.rewrite(model.fn, lambda s, apply, x, w: apply(x, w)[:1])
    with pytest.raises(ValueError, match=r"goes on with float32 of shape \(5, 8\)"):
        short(model.params, *model.inputs)


def test_a_rule_that_matches_no_leaf_with_a_site_raises():
    model = mlp()
    rewritten = graph.rewrite(model.fn, Rules({"1": identity}))
    with pytest.raises(ValueError, match=r"'1' matches nothing. Names are: 0, 2"):
        rewritten(model.params, *model.inputs)
