"""The driver: segments give each leaf what runs of the whole model would give it."""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxcompress as jc
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import grid
from jaxcompress.core.matrices import as_matrices, from_matrices
from jaxcompress.core.observers import Range, covariance
from jaxcompress.graph.observe import observe, windows
from jaxcompress.layerwise import Solver, driver, solve, stream, weight_solver
from jaxcompress.layerwise.frontier import Frontier
from jaxcompress.layerwise.turns import multiplied, reading_axes, sites_of, turns
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return on_device(0.4 * RANDOM.standard_normal(shape))


def shrunk(weight, moment):
    """Smooth in both: whatever changes a moment changes what is found."""
    return weight - 0.5 * weight @ moment / jnp.trace(moment)


def chosen_of(fn, params, batches) -> list[str]:
    program = jc.graph.trace(fn, params, *batches[0])
    return [name for name, on in jc.named_leaves(multiplied(program)(params)).items() if on]


def by_whole_runs(fn, params, batches, names) -> dict[str, jax.Array]:
    """For each matrix a run of the whole model over all batches."""
    program = jc.graph.trace(fn, params, *batches[0])
    sites = sites_of("test", program, names)
    rules = jc.Rules({site.leaf: covariance() for each in sites.values() for site in each})
    observed = jax.jit(observe(fn, rules, of=windows))
    leaves = dict(jc.named_leaves(params))
    for name, index in dict.fromkeys(turns(program.block, sites)):
        readings: dict[str, Any] = {}
        for inputs in batches:
            now = jax.tree.unflatten(jax.tree.structure(params), leaves.values())
            readings = observed(now, *inputs, readings=readings)[1]
        states = [jax.tree.map(lambda x: x[index], readings[site.name]) for site in sites[name]]  # noqa: B023
        met = covariance().read(functools.reduce(covariance().merge, states))
        axes = reading_axes(sites[name][0])
        stack = [leaves[name].shape[axis] for axis in axes.batch]
        matrices = as_matrices(leaves[name], axes)
        matrices = matrices.reshape(*stack, *matrices.shape[1:])
        at = matrices[index]
        flat = zip(at.reshape(-1, *at.shape[-2:]), met.reshape(-1, *met.shape[-2:]), strict=True)
        solved = jnp.stack([shrunk(*each) for each in flat]).reshape(at.shape)
        changed = matrices.at[index].set(solved.astype(at.dtype))
        leaves[name] = from_matrices(changed, axes, like=leaves[name])
    return leaves


class Case(NamedTuple):
    """A model, its params, shapes of batches, and the leaves it cannot be cut at."""

    fn: Callable
    params: dict[str, Any]
    shapes: Sequence[tuple[int, ...]] = ((5, 4), (5, 4))
    uncut: Mapping[str, str] = MappingProxyType({})
    ids: bool = False


def mlp(params, x):
    return jnp.tanh(x @ params["first"] + params["bias"][None]) @ params["second"]


def norm(x):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def attention(params, x):
    heads = lambda name: (x @ params[name]).reshape(*x.shape[:-1], 2, 2)  # noqa: E731
    scores = jnp.einsum("bthd,bshd->bhts", heads("q"), heads("k"))
    mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), heads("v"))
    return mixed.reshape(x.shape) @ params["o"]


def wide(params, x):
    return jax.nn.gelu(x @ params["up"]) @ params["down"]


def layer_params(*stack: int) -> dict:
    return {name: normal(*stack, 4, 4) for name in "qkvo"} | {
        "up": normal(*stack, 4, 6),
        "down": normal(*stack, 6, 4),
    }


def pre_norm(params, ids):
    x = params["table"][ids]
    for layer in params["layers"]:
        x = x + attention(layer, norm(x))
        x = x + wide(layer, norm(x))
    return norm(x) @ params["table"].T


def post_norm(params, x):
    for layer in params["layers"]:
        x = norm(x + attention(layer, x))
        x = norm(x + wide(layer, x))
    return x


def scanned(params, x):
    def layer(x, each):
        weights, bias = each
        x = norm(x + attention(weights, x) + bias[None, None])
        return norm(x + wide(weights, x)), x.mean()

    x, means = jax.lax.scan(layer, x, (params["layers"], params["bias"]))
    return x @ params["out"] * means.sum()


def backwards_and_moved(params, x):
    """A stack along a later axis, cast, sliced from its end; a stack of stacks."""
    stack = jnp.moveaxis(params["moved"], 1, 0).astype(jnp.float32)
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, stack, reverse=True)

    def outer(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), x.sum()), x, weights)

    x, sums = jax.lax.scan(outer, x, params["nested"])
    return x * sums.sum()


def called(params, x):
    @jax.custom_jvp
    def swish(x, w):
        return jax.nn.silu(x @ w)

    swish.defjvp(lambda primals, tangents: (swish(*primals), tangents[0] @ primals[1]))

    @jax.jit
    def inner(x, w):
        return jax.checkpoint(jax.jit(lambda x, w: jnp.tanh(x @ w)))(x, w)

    return jax.nn.relu(swish(inner(inner(x, params["a"]), params["b"]), params["c"])) @ params["d"]


def convolved(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    conv = functools.partial(jax.lax.conv_general_dilated, dimension_numbers=numbers)
    x = jax.nn.relu(conv(x, params["first"], (2, 2), "SAME"))
    x = conv(x, jnp.transpose(params["second"], (2, 3, 1, 0)), (1, 1), "SAME") + x.mean()
    return x.mean((1, 2)) @ params["head"]


def branches(params, x):
    """Gates on one input, weights side by side in a product, all params cast first."""
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16).astype(jnp.float32), params)
    y = jax.nn.silu(x @ params["gate"]) * (x @ params["up"])
    both = y @ jnp.concatenate([params["left"], params["right"]], axis=1)
    return x @ params["skip"] + both[:, :4] @ params["out"]


def recurrent(params, x):
    def step(h, x):
        h = jnp.tanh(x @ params["in"] + h @ params["hidden"])
        return h, h

    x = x @ params["before"]
    _, found = jax.lax.scan(step, jnp.zeros(4), x)
    return found @ params["after"]


def looping(params, x):
    """A loop, a branch on the data, and a plain leaf after each."""
    _, x = jax.lax.while_loop(
        lambda state: state[0] < 2,
        lambda state: (state[0] + 1, jnp.tanh(state[1] @ params["loop"])),
        (0, x @ params["first"]),
    )
    x = x @ params["middle"]
    turn = jnp.tanh(x.sum()) > 2
    x = jax.lax.cond(turn, lambda x: x, lambda x: x @ params["branch"], x)
    return x @ params["last"]


def repeated(params, x):
    """One leaf at two places with others between; one that its own input depends on."""
    x = jnp.tanh(x @ params["shared"]) @ params["between"]
    x = jnp.tanh(x @ params["shared"]) * params["own"].sum()
    return x @ params["own"] @ params["last"]


def divided(params, x):
    """A device's part of the rows, in a function that says where they are."""
    mesh = jax.make_mesh((2,), ("rows",), (AxisType.Auto,), devices=jax.devices()[:2])
    rows = PartitionSpec("rows")
    apart = jax.shard_map(
        lambda w, x: jnp.tanh(x @ w), mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows
    )
    placed = jax.jit(lambda w, x: x @ w, out_shardings=NamedSharding(mesh, rows))
    return placed(params["placed"], apart(params["apart"], x @ params["first"]))


def product(params, x):
    """Two leaves that meet each other before they meet data."""
    return jnp.tanh(x @ params["first"]) @ (params["left"] @ params["right"])


SCAN, TWICE = "it is read inside a scan that does not slice all leaves in it", "2 sites"
CASES = {
    "mlp": Case(mlp, {"first": normal(4, 6), "bias": normal(6), "second": normal(6, 4)}),
    "batches of two shapes": Case(
        mlp,
        {"first": normal(4, 6), "bias": normal(6), "second": normal(6, 4)},
        ((5, 4), (3, 4), (5, 4)),
    ),
    "pre-norm, tied table": Case(
        pre_norm,
        {"table": normal(9, 4), "layers": [layer_params() for _ in range(2)]},
        ((2, 5), (2, 5)),
        ids=True,
    ),
    "post-norm": Case(
        post_norm, {"layers": [layer_params() for _ in range(2)]}, ((2, 5, 4), (2, 5, 4))
    ),
    "scanned": Case(
        scanned,
        {"layers": layer_params(2), "bias": normal(2, 4), "out": normal(4, 4)},
        ((2, 5, 4), (2, 5, 4)),
    ),
    "backwards, moved, nested": Case(
        backwards_and_moved,
        {"moved": normal(4, 2, 4).astype(jnp.bfloat16), "nested": normal(2, 2, 4, 4)},
    ),
    "called": Case(called, {name: normal(4, 4) for name in "abcd"}),
    "convolved": Case(
        convolved,
        {"first": normal(3, 3, 2, 4), "second": normal(3, 4, 2, 2), "head": normal(3, 5)},
        ((2, 6, 6, 2),),
    ),
    "branches": Case(
        branches,
        {name: normal(4, 4) for name in ("gate", "up", "left", "right", "skip", "out")},
    ),
    "recurrent": Case(
        recurrent,
        {name: normal(4, 4) for name in ("before", "in", "hidden", "after")},
        uncut={"in": SCAN, "hidden": SCAN},
    ),
    "looping": Case(
        looping,
        {name: normal(4, 4) for name in ("first", "loop", "middle", "branch", "last")},
        uncut={"loop": "it is read inside a while loop", "branch": "it is read inside a cond"},
    ),
    "divided": Case(
        divided,
        {name: normal(4, 4) for name in ("first", "apart", "placed")},
        ((4, 4),),
        uncut={"apart": "it is read inside a shard_map", "placed": "it is read inside a jit"},
    ),
    "product": Case(
        product,
        {name: normal(4, 4) for name in ("first", "left", "right")},
        uncut=dict.fromkeys(("left", "right"), "its dot_general is of 2 weights"),
    ),
    "repeated": Case(
        repeated,
        {name: normal(4, 4) for name in ("shared", "between", "own", "last")},
        uncut={"shared": TWICE, "own": "what it meets depends on it"},
    ),
}


def batches_of(case: Case) -> list[tuple[jax.Array]]:
    if case.ids:
        return [(jnp.asarray(RANDOM.integers(0, 9, shape)),) for shape in case.shapes]
    return [(normal(*shape),) for shape in case.shapes]


@pytest.mark.parametrize("name", CASES)
def test_segments_find_what_whole_runs_find(name):
    case = CASES[name]
    batches = batches_of(case)
    names = chosen_of(case.fn, case.params, batches)
    solvers = dict.fromkeys(names, weight_solver(shrunk))
    found = solve("test", case.fn, case.params, batches, solvers)
    expected = by_whole_runs(case.fn, case.params, batches, names)
    for leaf in names:
        # Sums in another grouping: some roundings, of bfloat16 where the leaf is so.
        rounding = 2**-7 if expected[leaf].dtype == jnp.bfloat16 else 100 * 2**-23
        np.testing.assert_allclose(
            np.asarray(found.leaves[leaf], np.float32),
            np.asarray(expected[leaf], np.float32),
            rtol=rounding,
            atol=rounding,
        )
    assert found.uncut.keys() == case.uncut.keys()
    assert all(case.uncut[leaf] in why for leaf, why in found.uncut.items())


def counted(calls: collections.Counter, layer: str, x):
    """The array, and one more call of its layer whenever it is computed."""

    def count(x):
        calls[layer] += 1
        return x

    return jax.pure_callback(count, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


@pytest.mark.parametrize(("correction", "most"), [(0.0, 2), (0.5, 3)])
def test_each_equation_runs_twice_for_a_batch_and_once_more_for_a_correction(correction, most):
    calls = collections.Counter()

    def fn(params, x):
        for layer in ("first", "second", "third"):
            x = counted(calls, layer, jnp.tanh(x @ params[layer]))
        return x @ params["last"]

    params = {name: normal(4, 4) for name in ("first", "second", "third", "last")}
    batches = [normal(5, 4), normal(5, 4)]
    solver = jc.prune.solvers.sparsegpt()
    jc.prune.reconstruct(fn, params, batches, solver, 0.5, correction=correction)
    assert calls == dict.fromkeys(("first", "second", "third"), most * len(batches))


@pytest.mark.parametrize("stacked", [False, True], ids=["apart", "scanned"])
def test_equal_layers_share_programs(stacked, monkeypatch):
    def count(layers: int) -> int:
        if stacked:
            params = {"layers": layer_params(layers), "bias": normal(layers, 4)}
            fn, params = scanned, params | {"out": normal(4, 4)}
        else:
            fn, params = post_norm, {"layers": [layer_params() for _ in range(layers)]}
        made = []

        def watched(*args):
            made.append(Frontier(*args))
            return made[0]

        monkeypatch.setattr(driver, "Frontier", watched)
        batches = [(normal(2, 5, 4),)]
        names = chosen_of(fn, params, batches)
        solve("test", fn, params, batches, dict.fromkeys(names, weight_solver(shrunk)))
        return len(made[0].programs.known)

    assert count(3) == count(4)


def test_the_host_keeps_what_is_too_much_for_the_device(monkeypatch):
    case, given_back = CASES["post-norm"], []
    batches = batches_of(case)
    names = chosen_of(case.fn, case.params, batches)
    solvers = dict.fromkeys(names, weight_solver(shrunk))
    expected = solve("test", case.fn, case.params, batches, solvers).leaves
    device_put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda *x: given_back.append(x) or device_put(*x))
    monkeypatch.setattr(stream, "MOST_ON_DEVICE", 0)
    found = solve("test", case.fn, case.params, batches, solvers).leaves
    assert all(isinstance(array, np.ndarray) for array, _ in given_back)
    assert len(given_back) > 8
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])


def nearest(spec: jc.QuantSpec) -> Solver:
    """Codes of the nearest values, by no more than `core`."""

    def coded(weight, moment):
        del moment
        ends = jnp.max(jnp.abs(weight), axis=1, keepdims=True)
        on = grid(Range(-ends, ends), spec)
        return encode(weight, on, spec).astype(spec.code_dtype), on

    def leaf(found, leaf, axes):
        codes, on = found
        shape = [leaf.shape[axis] for axis in axes.order]
        blocks = [*shape[: len(axes.batch) + len(axes.output)], *(1 for _ in axes.contracting)]
        on = on._replace(scale=on.scale.reshape(blocks))
        form = {"spec": spec, "dtype": leaf.dtype, "axes": axes}
        return jc.QTensor.from_codes(codes.reshape(shape), on, **form)

    return Solver(coded, lambda found: decode(*found, spec), leaf)


def low_rank(rank: int) -> Solver:
    """Two factors, by the singular values of what the weight makes of its inputs."""

    def factored(weight, moment):
        root = jnp.linalg.cholesky(moment + 1e-3 * jnp.eye(len(moment)))
        left, values, right = jnp.linalg.svd(weight @ root, full_matrices=False)
        back = jax.scipy.linalg.solve_triangular(root, right[:rank].T, lower=True, trans=1)
        return left[:, :rank] * values[None, :rank], back.T

    def leaf(found, leaf, axes):
        left, right = found
        shape = [leaf.shape[axis] for axis in axes.order]
        batch, outputs = len(axes.batch), len(axes.batch) + len(axes.output)
        return jc.LowRank.from_factors(
            left.reshape(*shape[:outputs], rank),
            right.reshape(*shape[:batch], rank, *shape[outputs:]),
            dtype=leaf.dtype,
            axes=axes,
        )

    return Solver(factored, lambda found: found[0] @ found[1], leaf)


KINDS = {
    "rounded to nearest": (nearest(jc.quantize.int4()), jc.QTensor),
    "of low rank": (low_rank(2), jc.LowRank),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["scanned", "convolved"])
def test_a_leaf_becomes_what_its_solver_gives(name, kind):
    """And the leaves after it were solved on what it stands for."""
    solver, form = KINDS[kind]
    case = CASES[name]
    batches = batches_of(case)
    names = chosen_of(case.fn, case.params, batches)
    watching = Solver(
        lambda weight, moment: (moment, solver.solve(weight, moment)),
        lambda found: solver.weight(found[1]),
        lambda found, leaf, axes: solver.leaf(found[1], leaf, axes),
    )
    found = solve("test", case.fn, case.params, batches, dict.fromkeys(names, watching))
    assert all(type(found.leaves[each]) is form for each in names)
    leaves = dict(jc.named_leaves(case.params)) | found.leaves
    solved = jax.tree.unflatten(jax.tree.structure(case.params), leaves.values())
    rules = jc.Rules({each: covariance() for each in names})
    observed = jax.jit(observe(jc.materialized(case.fn), rules, of=windows))
    readings: dict[str, Any] = {}
    for inputs in batches:
        readings = observed(solved, *inputs, readings=readings)[1]
    for each in names:
        moment, _ = found.solutions[each]  # (matrices, inputs, inputs)
        expected = covariance().read(readings[each]).reshape(moment.shape)
        atol = 1e-4 * float(np.max(np.abs(moment)))
        np.testing.assert_allclose(moment, expected, rtol=1e-4, atol=atol)
