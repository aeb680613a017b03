"""Inside of a shard_map: sites, replacements and readings of a sharded model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import graph
from jaxcompress.core.observers import covariance
from jaxcompress.quantize.ranges import min_max
from tests.graph.zoo import normal

PARAMS = {
    "column": normal(1, 6, 8),
    "row": normal(2, 8, 6),
    "gathered": normal(3, 6, 6),
    "head": normal(4, 6, 2),
}
X = normal(5, 4, 6)


def whole(params, x):
    """What the model computes, on one device."""
    x = jnp.tanh(x @ params["column"]) @ params["row"]
    for _ in range(2):
        x = jnp.tanh(x @ params["gathered"])
    return x @ params["head"]


def laid_out(mesh, checked: bool, params, x):
    """Columns, then rows, of kernels on each device; one gathered for a scan."""

    def body(x, column, row, gathered):
        x = lax.psum(jnp.tanh(x @ column) @ row, "model")
        gathered = lax.all_gather(gathered, "data", axis=0, tiled=True)
        return lax.scan(lambda x, _: (jnp.tanh(x @ gathered), None), x, length=2)[0]

    inputs = (P("data"), P(None, "model"), P("model"), P("data"))
    mapped = jax.shard_map(body, mesh=mesh, in_specs=inputs, out_specs=P("data"), check_vma=checked)
    return mapped(x, params["column"], params["row"], params["gathered"]) @ params["head"]


@pytest.fixture(params=[True, False], ids=["checked", "unchecked"])
def model(mesh, request):
    grid = mesh(data=2, model=2, axis_type=AxisType.Auto)
    return functools.partial(laid_out, grid, request.param)


def test_sites_have_the_roles_of_whole_leaves(model):
    sites = graph.trace(model, PARAMS, X).sites
    assert [site.name for site in sites] == ["column", "row", "gathered", "head"]
    assert {(site.axes.contracting, site.axes.output) for site in sites} == {((0,), (1,))}
    # A device sees but a part of what the row-wise kernel sums over.
    assert [site.observable for site in sites] == [True, False, True, True]
    assert graph.axes(model, PARAMS, X) == graph.axes(whole, PARAMS, X)


def test_an_identity_changes_neither_the_program_nor_gradients(model):
    same = graph.rewrite(model, lambda site, apply, data, weight: apply(data, weight))

    def text(fn):
        return jax.jit(jax.value_and_grad(lambda p: jnp.sum(fn(p, X) ** 2))).lower(PARAMS).as_text()

    assert text(same) == text(model)


def test_a_replacement_happens_on_every_device(model):
    def doubled(site, apply, data, weight):
        return 2 * apply(data, weight)

    rewritten = jax.jit(graph.rewrite(model, jc.Rules({"[cr]*": doubled})))
    twice = PARAMS | {name: 2 * PARAMS[name] for name in ("column", "row")}
    np.testing.assert_allclose(rewritten(PARAMS, X), whole(twice, X), rtol=1e-5, atol=1e-6)


def test_compressed_leaves_are_formed_before(model):
    packed, _ = jc.quantize.quantize(PARAMS, jc.quantize.int8(), select=jc.matching("row"))
    rewritten = jax.jit(graph.rewrite(model, lambda site, apply, data, weight: apply(data, weight)))
    expected = whole(jc.materialize(packed), X)
    np.testing.assert_allclose(rewritten(packed, X), expected, rtol=1e-5, atol=1e-6)


def test_readings_are_of_the_rows_of_all_devices(model):
    outputs, readings = jax.jit(graph.observe(model, covariance()))(PARAMS, X)
    np.testing.assert_allclose(outputs, whole(PARAMS, X), rtol=1e-5, atol=1e-6)
    _, expected = graph.observe(whole, covariance())(PARAMS, X)
    assert sorted(readings) == ["column", "gathered", "head"]
    alike = {name: [name] for name in ("column", "head")} | {"gathered": ["gathered", "gathered#2"]}
    for name, sites in alike.items():
        products, count = readings[name]
        by_hand, rows = (
            sum(parts) for parts in zip(*(expected[site] for site in sites), strict=True)
        )
        # Rows that several devices have alike count as often: their mean is the same.
        np.testing.assert_allclose(products / count, by_hand / rows, rtol=1e-4)


def test_readings_under_explicit_axes(mesh):
    grid = mesh(data=4, axis_type=AxisType.Explicit)

    def dense(params, x):
        return jnp.tanh(x @ params["column"]) @ params["row"]

    mapped = jax.shard_map(dense, mesh=grid, in_specs=(P(), P("data")), out_specs=P("data"))
    params = {name: PARAMS[name] for name in ("column", "row")}
    _, expected = graph.observe(dense, min_max())(params, X)
    with jax.set_mesh(grid):
        placed = jax.device_put(params, jax.NamedSharding(grid, P()))
        x = jax.device_put(X, jax.NamedSharding(grid, P("data")))
        _, readings = jax.jit(graph.observe(mapped, min_max()))(placed, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), readings, expected)


def test_readings_go_on(model):
    observed = jax.jit(graph.observe(model, min_max()))
    _, once = observed(PARAMS, X)
    _, again = observed(PARAMS, 0 * X, readings=once)
    jax.tree.map(np.testing.assert_array_equal, again["column"].high, once["column"].high)


def test_axes_stay_whole_and_the_reason_is_named(model):
    couplings = graph.couplings(model, PARAMS, X)
    assert couplings.families == ()
    pins = {family.name: family.pins[0] for family in couplings.pinned}
    assert pins["column:1"].startswith("needed whole by shard_map (")
