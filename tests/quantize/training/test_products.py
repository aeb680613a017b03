"""Training on products of codes: the bits of execution, the gradients of the views."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Model
from jaxcompress.quantize import (
    fake_quantize,
    fake_quantize_activations,
    fake_quantize_model,
    int4,
    int8,
    plan_execution,
    quantize,
    run,
)
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.execution import Activations, dynamic, static
from jaxcompress.quantize.formats import uint8
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.ranges.estimator import RangeEstimator
from jaxcompress.quantize.training.latent import Latent
from tests.inputs import on_device

CLIPPED = static({"w": Range(jnp.float32(-1.0), jnp.float32(1.0))})


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def conv(params, x):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME", dimension_numbers=layout)


def scanned(params, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["w"])[0]


def halves(spec, axis):
    """A range that clips."""
    return min_max(spec, axis)._replace(read=lambda found: Range(found.low / 2, found.high / 2))


class Case(NamedTuple):
    """A model of one weight, and whether its products are of codes."""

    name: str
    fn: Model
    weight: tuple
    x: tuple
    spec: QuantSpec = int8()
    activations: Activations = dynamic()
    codes: bool = True
    dtype: object = jnp.float32
    ranges: RangeEstimator = min_max
    largest: float = jnp.inf  # of the data, beyond which it is clipped


def dense(params, x):
    return x @ params["w"]


CASES = [
    Case("dense", dense, (8, 6), (3, 8)),
    Case("one row", dense, (8, 6), (1, 8)),
    Case("bfloat16", dense, (8, 6), (3, 8), dtype=jnp.bfloat16),
    Case("clipped", dense, (8, 6), (3, 8), activations=CLIPPED, ranges=halves, largest=1.0),
    Case("per tensor", dense, (8, 6), (3, 8), spec=int8(per="tensor")),
    Case("transposed", lambda p, x: x @ p["w"].T, (6, 8), (3, 8)),
    Case("weight first", lambda p, x: p["w"] @ x, (6, 8), (8, 3)),
    Case("heads", lambda p, x: jnp.einsum("bti,iho->bhto", x, p["w"]), (8, 2, 3), (2, 3, 8)),
    Case("merged", lambda p, x: jnp.einsum("btho,hoi->bti", x, p["w"]), (2, 4, 6), (2, 3, 2, 4)),
    Case("experts", lambda p, x: jnp.einsum("etk,ekn->etn", x, p["w"]), (2, 8, 3), (2, 4, 8)),
    Case("scanned", scanned, (3, 8, 8), (2, 8), spec=int4()),
    Case("groups", dense, (8, 6), (3, 8), spec=int4(group_size=2), codes=False),
    Case("asymmetric", dense, (8, 6), (3, 8), spec=uint8(), codes=False),
    Case("two digits", dense, (8, 6), (3, 8), activations=dynamic(digits=2), codes=False),
    Case("convolution", conv, (2, 2, 3, 4), (2, 3, 3, 3), codes=False),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_outputs_and_gradients_are_those_of_the_views(case):
    params = {"w": normal(*case.weight).astype(case.dtype)}
    x = normal(*case.x, seed=1).astype(case.dtype)
    axes = jc.graph.axes(case.fn, params, x)
    on_codes = fake_quantize_model(
        case.fn, case.spec, case.activations, axes=axes, ranges=case.ranges
    )
    rounded = fake_quantize_activations(case.fn, case.activations)
    view = fake_quantize(case.spec, axes=axes, ranges=case.ranges)
    towards = normal(*jax.eval_shape(case.fn, params, x).shape, seed=2).astype(case.dtype)

    def values(fn, *at):
        output, tangent = jax.jvp(fn, at, at)
        return output, tangent, jax.grad(lambda *at: jnp.vdot(fn(*at), towards), (0, 1))(*at)

    # As arguments: XLA of jax 0.8 gets products of transposed int8 constants wrong.
    @jax.jit
    def both(*at):
        return values(on_codes, *at), values(lambda params, x: rounded(view(params), x), *at)

    found, expected = both(params, x)
    eps = float(jnp.finfo(case.dtype).eps)
    for part, whole in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert part.dtype == whole.dtype
        part, whole = np.asarray(part, np.float32), np.asarray(whole, np.float32)
        np.testing.assert_allclose(part, whole, rtol=0, atol=32 * eps * np.abs(whole).max())
    text = str(jax.make_jaxpr(on_codes)(params, x))
    assert ("preferred_element_type=int32" in text) == case.codes


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.fn is not scanned], ids=lambda case: case.name
)
def test_second_derivatives_are_those_of_a_bilinear_product(case):
    """Of (w + t w)(x + t x) it is 2 w x, of what lies inside the ranges."""
    params = {"w": normal(*case.weight).astype(case.dtype)}
    x = normal(*case.x, seed=1).astype(case.dtype)
    axes = jc.graph.axes(case.fn, params, x)
    on_codes = fake_quantize_model(
        case.fn, case.spec, case.activations, axes=axes, ranges=case.ranges
    )
    rounded = fake_quantize_activations(case.fn, case.activations)
    view = fake_quantize(case.spec, axes=axes, ranges=case.ranges)

    def second(fn, *along):
        def slope(*at):
            return jax.jvp(fn, at, along)[1]

        return jax.jvp(slope, along, along)[1].astype(jnp.float32)

    @jax.jit
    def all_three(params, x):
        inside_w = jax.jvp(view, (params,), (params,))[1]
        inside_x = jnp.where(jnp.abs(x) <= case.largest, x, 0)
        expected = 2 * case.fn(inside_w, inside_x).astype(jnp.float32)
        by_views = second(lambda params, x: rounded(view(params), x), params, x)
        return expected, second(on_codes, params, x), by_views

    expected, *found = all_three(params, x)
    atol = 32 * float(jnp.finfo(case.dtype).eps) * float(jnp.abs(expected).max())
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["dense", "heads", "experts"])
def test_training_sees_the_bits_that_run_gives(name):
    case = next(case for case in CASES if case.name == name)
    params, x = {"w": normal(*case.weight)}, normal(*case.x, seed=1)
    axes = jc.graph.axes(case.fn, params, x)
    stored, _ = quantize(params, case.spec, axes=axes)
    only = lambda calls: {form: 1.0 + (form != "integer") for form in calls}  # noqa: E731
    running = run(case.fn, plan_execution(case.fn, stored, x, probe=only))
    on_codes = fake_quantize_model(case.fn, case.spec, axes=axes)
    np.testing.assert_array_equal(jax.jit(running)(stored, x), jax.jit(on_codes)(params, x))


def test_the_latent_leaf_shows_what_the_view_shows():
    params = {"w": normal(3, 4, 5)}
    axes = jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))
    leaf = Latent.of(params["w"], Assignment(int8(), axes), min_max)
    seen = fake_quantize(int8(), axes={"w": axes})(params)["w"]
    np.testing.assert_array_equal(leaf.materialize(), seen)
    np.testing.assert_array_equal(leaf.transpose((0, 2, 1)).materialize(), seen.mT)
    assert leaf.transpose((0, 2, 1)).axes == jc.LeafAxes((2,), (1,), (0,))
    assert leaf.stacked
    assert not leaf.transpose((1, 0, 2)).stacked


def test_one_trace_and_a_falling_loss():
    x = normal(32, 4)
    y = x @ normal(4, 2, seed=1)
    model = fake_quantize_model(dense, int8())
    optimizer = optax.sgd(0.1)
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)
        value, grads = jax.value_and_grad(lambda p: jnp.mean((model(p, x) - y) ** 2))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    params = {"w": jnp.zeros((4, 2)) + 0.01}
    state = optimizer.init(params)
    losses = []
    for _ in range(40):
        params, state, value = step(params, state)
        losses.append(float(value))
    assert len(traces) == 1
    assert losses[-1] < 0.05 * losses[0]


def test_what_is_not_finite_stays_so():
    model = fake_quantize_model(dense, int8())
    params, x = {"w": normal(8, 4)}, normal(3, 8, seed=1)
    bad_row = model(params, x.at[1, 2].set(jnp.nan))
    np.testing.assert_array_equal(np.isfinite(bad_row).all(1), [True, False, True])
    bad_column = model({"w": params["w"].at[2, 1].set(jnp.inf)}, x)
    np.testing.assert_array_equal(np.isfinite(bad_column).all(0), [True, False, True, True])


def test_errors_name_the_function():
    with pytest.raises(ValueError, match=r"fake_quantize_model\(select=...\) selects no leaf"):
        fake_quantize_model(dense, int8())({"w": jnp.ones(2)}, jnp.ones((1, 2)))
