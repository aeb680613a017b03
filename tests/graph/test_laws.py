"""What holds for every model: rewriting or capturing nothing changes nothing."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules
from jaxcompress.quantize.ranges import min_max
from tests.graph.zoo import ZOO


@pytest.fixture(params=ZOO, ids=lambda model: model.__name__, scope="module")
def model(request):
    return request.param()


@pytest.fixture(scope="module")
def outputs(model):
    return jax.jit(model.fn)(model.params, *model.inputs)


@pytest.fixture(scope="module")
def program(model):
    return graph.trace(model.fn, model.params, *model.inputs)


@pytest.fixture(scope="module")
def rewritten(model, program):
    """The model with the identity at every site, of weights and of products."""
    rules = {"*": identity, "@*": identity}
    return graph.rewrite(model.fn, Rules(rules) if program.products else identity)


def identity(site, apply, data, weight):
    return apply(data, weight)


def text(fn, *args) -> str:
    return jax.jit(fn).lower(*args).as_text()


def assert_same_bits(first, second, *args):
    """The same text is the same program; another text must still give the same bits."""
    if text(first, *args) != text(second, *args):
        ours, theirs = jax.jit(first)(*args), jax.jit(second)(*args)
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_an_identity_rewrite_gives_the_same_program(model, rewritten):
    same = text(model.fn, model.params, *model.inputs) == text(
        rewritten, model.params, *model.inputs
    )
    assert same == model.same_text
    assert_same_bits(model.fn, rewritten, model.params, *model.inputs)


def test_an_identity_rewrite_gives_the_same_gradients(model, rewritten):
    def derivative(fn):
        def at(params, *inputs):
            return model.derivative(lambda params: jnp.sum(fn(params, *inputs) ** 2), params)

        return at

    assert_same_bits(derivative(model.fn), derivative(rewritten), model.params, *model.inputs)


def test_an_identity_rewrite_maps_over_examples(model, rewritten):
    if not model.mapped:
        pytest.skip("JAX cannot map this model over examples.")
    axes = (None, *(0 for _ in model.inputs))
    inputs = [jnp.stack([x, x[::-1]]) for x in model.inputs]
    mapped = [jax.vmap(fn, in_axes=axes) for fn in (model.fn, rewritten)]
    assert_same_bits(*mapped, model.params, *inputs)


def test_rows_times_the_weight_is_the_output(model, outputs):
    """`rows`, `operand_axes` and `output` describe every dot of every model."""
    met = []

    def by_rows(site, apply, data, weight):
        if not site.is_matmul:
            return apply(data, weight)
        met.append(site.name)
        roles = site.operand_axes
        stored = jnp.transpose(weight, roles.order)
        split = len(roles.batch)
        contracted = math.prod(stored.shape[split + len(roles.output) :])
        stored = stored.reshape(*stored.shape[:split], -1, contracted)
        y = site.rows(data) @ jnp.swapaxes(stored, -1, -2)
        return site.output(y)

    actual = jax.jit(graph.rewrite(model.fn, by_rows))(model.params, *model.inputs)
    # The same products summed in another order, through a few layers.
    np.testing.assert_allclose(actual, outputs, rtol=1e-4, atol=1e-4)
    assert met


def test_observing_changes_no_output_and_reads_every_dot(model, program, outputs):
    observed = graph.observe(model.fn, min_max())
    actual, readings = jax.jit(observed)(model.params, *model.inputs)
    np.testing.assert_array_equal(actual, outputs)
    expected = {site.name: site.stack for site in program.sites if site.observable}
    assert {name: reading.low.shape for name, reading in readings.items()} == expected


def test_axes_have_the_structure_of_the_params_and_hold_every_axis(model):
    axes = named_leaves(graph.axes(model.fn, model.params, *model.inputs))
    leaves = named_leaves(model.params)
    assert axes.keys() == leaves.keys()
    for name, roles in axes.items():
        assert isinstance(roles, LeafAxes)
        if roles.meets_data:
            assert sorted(roles.order) == list(range(leaves[name].ndim))


def test_moved_scales_leave_the_function(model, outputs):
    found = graph.symmetries.scalings(model.fn, model.params, *model.inputs)

    def moved(params, *inputs):
        for seed, each in enumerate(found.all):
            factors = np.random.default_rng(seed).uniform(-np.log(4), np.log(4), each.size)
            params = graph.symmetries.scale(params, each, np.exp(factors))
        return model.fn(params, *inputs)

    actual = jax.jit(moved)(model.params, *model.inputs)
    # Sums of products of a factor and its inverse, each rounded once.
    np.testing.assert_allclose(actual, outputs, rtol=1e-4, atol=1e-4)


def test_capturing_nothing_is_the_model_itself(model):
    nothing = graph.capture(model.fn, ())
    assert jax.eval_shape(nothing, model.params, *model.inputs)[1] == {}
    assert_same_bits(model.fn, lambda *args: nothing(*args)[0], model.params, *model.inputs)


def test_captured_values_have_the_shapes_of_their_sites(model, program):
    if not model.captured:
        pytest.skip("Its values have no gradient of their own, and are refused.")
    captured = graph.capture(model.fn, [*program.places])
    outputs, values = jax.eval_shape(captured, model.params, *model.inputs)
    assert outputs == program.outputs
    for name, site in program.places.items():
        shape = tuple(site.output_shape[axis] for axis in site.result_order)
        assert (values[name].shape, values[name].dtype) == ((*site.scans, *shape), site.dtype)


def test_sites_have_unique_names_and_are_of_weights_or_products(program):
    names = [site.name for site in (*program.sites, *program.products)]
    assert len(set(names)) == len(names)
    assert not any(site.is_product for site in program.sites)
    assert all(site.is_product for site in program.products)
    assert [row.name for row in graph.cost(program).sites] == [site.name for site in program.sites]


def test_tracing_needs_shapes_only(model, program):
    shapes = jax.eval_shape(lambda: (model.params, model.inputs))
    abstract = graph.trace(model.fn, shapes[0], *shapes[1])
    assert [site.name for site in abstract.sites] == [site.name for site in program.sites]
