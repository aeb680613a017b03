"""The training view: the bits of `quantize`, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.observers import Range
from jaxcompress.quantize import fake_quantize, int4, int8, quantize
from jaxcompress.quantize.formats import uint4, uint8
from jaxcompress.quantize.ranges import min_max

SPECS = [
    int8(),
    int8(per="tensor"),
    int4(group_size=2),
    uint8(),
    uint4(group_size=4),
    uint4(per="tensor"),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=str)
AXES = {
    "conv": LeafAxes((0, 1, 2), (3,)),
    "dense": LeafAxes((0,), (1,)),
    "stacked": LeafAxes((1,), (2,), (0,)),
    "bias": jc.core.axes.UNUSED,
}
SHAPES = {"conv": (3, 3, 4, 5), "dense": (8, 6), "stacked": (3, 4, 5), "bias": (6,)}


def params(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


@every_spec
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_bits_of_quantize(spec, dtype):
    @jax.jit
    def both(params):
        stored, _ = quantize(params, spec, axes=AXES)
        return jc.materialize(stored), fake_quantize(spec, axes=AXES)(params)

    stored, seen = both(params(dtype))
    for name in SHAPES:
        assert seen[name].dtype == dtype
        np.testing.assert_array_equal(seen[name], stored[name])


@pytest.mark.parametrize("spec", [int8(), uint4(group_size=4)], ids=str)
def test_the_bits_of_quantize_outside_of_jit(spec):
    """Eager quantization after jitted training gives what the model saw."""
    weight = {"dense": params()["dense"]}
    stored, _ = quantize(weight, spec)
    seen = jax.jit(fake_quantize(spec))(weight)
    np.testing.assert_array_equal(seen["dense"], stored["dense"].materialize())


@every_spec
def test_the_gradient_is_the_identity(spec):
    weights = jax.tree.map(lambda p: p + 1, params())

    @jax.jit
    def gradient(params):
        view = fake_quantize(spec, axes=AXES)

        def inner(params):
            products = jax.tree.map(jnp.vdot, view(params), weights)
            return sum(jax.tree.leaves(products))

        return jax.grad(inner)(params)

    for found, expected in zip(
        jax.tree.leaves(gradient(params())), jax.tree.leaves(weights), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def clipping(spec, axis):
    """The same range for all that it sees."""

    def read(state):
        return Range(jnp.full_like(state.low, -0.5), jnp.full_like(state.high, 1.0))

    return min_max(spec, axis)._replace(read=read)


@pytest.mark.parametrize(
    ("spec", "inside"),
    # A symmetric grid covers the mirror image too.
    [(int8(), lambda x: np.abs(x) <= 1), (uint8(), lambda x: (x >= -0.5) & (x <= 1))],
    ids=["symmetric", "asymmetric"],
)
def test_the_gradient_stops_outside_the_range(spec, inside):
    x = np.linspace(-2, 2, 32, dtype=np.float32).reshape(8, 4)
    view = fake_quantize(spec, ranges=clipping)
    found = jax.grad(lambda p: view(p)["w"].sum())({"w": jnp.asarray(x)})["w"]
    np.testing.assert_array_equal(found, inside(x))


def test_rules_leave_the_others():
    tree = {"head": jnp.ones((2, 2)) * 0.3, "body": jnp.asarray([[0.3, 1.0]])}
    seen = fake_quantize(jc.Rules({"body": int4(per="tensor")}))(tree)
    assert seen["head"] is tree["head"]
    np.testing.assert_allclose(seen["body"], [[2 / 7, 1.0]], rtol=1e-6)


def test_numpy_leaves_of_double_precision_are_those_of_programs():
    kernel = np.linspace(-1, 1, 12).reshape(4, 3)
    found = fake_quantize(int4())({"kernel": kernel})["kernel"]
    assert found.dtype == jnp.float32
    single = fake_quantize(int4())({"kernel": jnp.asarray(kernel)})["kernel"]
    np.testing.assert_array_equal(found, single)


def test_a_tree_without_leaves_passes():
    assert fake_quantize(int8())({}) == {}


def test_vmap_over_models():
    stack = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 2)), jnp.float32)
    view = jax.jit(fake_quantize(int8()))
    seen = jax.vmap(view)({"w": stack})["w"]
    for one, each in zip(stack, seen, strict=True):
        np.testing.assert_array_equal(each, view({"w": one})["w"])


def test_layers_of_a_scan_have_their_own_scales():
    stack = params()["stacked"] * jnp.asarray([1.0, 10.0, 100.0])[:, None, None]
    whole = fake_quantize(int8(), axes={"w": AXES["stacked"]})({"w": stack})["w"]
    view = fake_quantize(int8())
    _, seen = jax.lax.scan(lambda carry, w: (carry, view({"w": w})["w"]), 0, stack)
    np.testing.assert_array_equal(whole, seen)


def test_one_trace_and_a_falling_loss():
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(32, 4)), jnp.float32)
    y = x @ jnp.asarray(rng.normal(size=(4, 2)), jnp.float32)
    view = fake_quantize(int4())
    optimizer = optax.adam(0.05)
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)

        def loss(params):
            return jnp.mean((x @ view(params)["w"] - y) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    weights = {"w": jnp.zeros((4, 2)) + 0.01}
    state = optimizer.init(weights)
    losses = []
    for _ in range(60):
        weights, state, value = step(weights, state)
        losses.append(float(value))
    assert len(traces) == 1
    assert losses[-1] < 0.2 * losses[0]


def test_errors_name_the_view():
    with pytest.raises(
        ValueError, match=r"fake_quantize: .*'w': int4 in groups of 4 does not divide its 6 weights"
    ):
        fake_quantize(int4(group_size=4))({"w": jnp.ones((6, 2))})
    with pytest.raises(ValueError, match=r"fake_quantize\(select=...\) selects no leaf"):
        fake_quantize(int4())({"w": jnp.ones(2)})
