"""Sparse and low-bit at once: exact zeros, and the errors of both."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.prune.patterns import n_of_m
from jaxcompress.prune.solvers import refitted, sparsegpt
from jaxcompress.quantize.rounding import nearest, sparse
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return on_device(RANDOM.standard_normal(shape))


def moment(inputs: int) -> jax.Array:
    x = normal(4 * inputs, inputs) @ (jnp.eye(inputs) + 0.2 * normal(inputs, inputs))
    return x.T @ x / len(x)


def rise(weight, changed, second_moment) -> float:
    error = np.asarray(weight, np.float64) - np.asarray(changed, np.float64)
    return np.trace(error @ np.asarray(second_moment, np.float64) @ error.T)


def by_magnitude(weight, moment, sparsity):
    """The smallest two of each four inputs go; what stays is as it was."""
    del moment
    axes = jc.LeafAxes(contracting=(1,), output=(0,))
    keep = n_of_m(2, 4)(jnp.abs(weight), sparsity, axes)
    return jnp.where(keep, weight, 0.0), keep


FORMATS = {
    "per channel": jc.quantize.int4(),
    "in groups, with a zero point": jc.quantize.formats.uint4(group_size=8),
    "a table": jc.quantize.formats.nf4(group_size=4),
}


@pytest.mark.parametrize("name", FORMATS)
def test_removed_weights_are_codes_of_zero_and_files_hold_them(name, tmp_path):
    spec, params = FORMATS[name], {"layers": 0.3 * normal(2, 16, 16)}
    fn = lambda params, x: jax.lax.scan(  # noqa: E731
        lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"]
    )[0]
    both = sparse(by_magnitude, 0.5, rounding=nearest())
    found, report = jc.quantize.reconstruct(fn, params, [normal(40, 16)], spec, both)
    leaf = found["layers"]
    assert isinstance(leaf, jc.QTensor)
    assert leaf.spec == spec
    _, keep = by_magnitude(jnp.swapaxes(params["layers"], 1, 2).reshape(32, 16), None, 0.5)
    removed = ~np.asarray(keep).reshape(2, 16, 16)
    assert not np.any(np.swapaxes(leaf.materialize(), 1, 2)[removed])
    told = re.search(r"([0-9.]+) % of its codes stand for 0", report.leaves[0].reason)
    assert told
    assert float(told[1]) >= 50.0
    jc.storage.save(tmp_path / "both.safetensors", found)
    again = jc.storage.load(tmp_path / "both.safetensors")
    for part, before in zip(jax.tree.leaves(again), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(part, before)


def test_both_errors_of_a_matrix_add_up_and_stay_below_those_of_nearest_codes():
    """What stays is fitted to each other, so GPTQ need not see the first error."""
    spec, solver = jc.quantize.int4(), refitted(by_magnitude)
    both, after = sparse(solver, 0.5).solver(spec), nearest().solver(spec)

    @jax.jit
    def solve(weight, moment):
        pruned, keep = solver(weight, moment, 0.5)
        in_turn = after.weight(after.solve(pruned, moment))
        return pruned, keep, in_turn, both.weight(both.solve(weight, moment))

    for _ in range(6):
        weight, second_moment = normal(12, 16), moment(16)
        pruned, keep, in_turn, at_once = solve(weight, second_moment)
        assert not np.any(np.asarray(at_once)[~np.asarray(keep)])
        assert rise(weight, at_once, second_moment) < rise(weight, in_turn, second_moment)
        ridge = second_moment + 0.01 * jnp.mean(jnp.diagonal(second_moment)) * jnp.eye(16)
        parts = rise(weight, pruned, ridge) + rise(pruned, at_once, ridge)
        np.testing.assert_allclose(rise(weight, at_once, ridge), parts, rtol=1e-3)


def test_layers_that_see_both_errors_before_them_make_up_for_both():
    """One after the other the later layers are pruned before they can see a code."""
    fn = lambda params, x: jnp.tanh(x @ params["first"]) @ params["last"]  # noqa: E731
    params, x = {"first": 0.4 * normal(12, 12), "last": 0.4 * normal(12, 12)}, normal(400, 12)
    spec, rounding = jc.quantize.formats.int3(), nearest()
    both = sparse(by_magnitude, 0.5, rounding=rounding)
    at_once, _ = jc.quantize.reconstruct(fn, params, [x], spec, both, correction=1)
    pruned, _ = jc.prune.reconstruct(fn, params, [x], by_magnitude, 0.5, correction=1)
    in_turn, _ = jc.quantize.reconstruct(fn, pruned, [x], spec, rounding)
    errors = [
        float(jnp.mean(jnp.square(fn(jc.materialize(each), x) - fn(params, x))))
        for each in (at_once, in_turn)
    ]
    assert errors[0] < errors[1]


def test_what_is_already_zero_stays_and_leaves_without_data_keep_their_weights():
    fn = lambda params, ids: params["table"][ids] @ params["kernel"]  # noqa: E731
    params = {"table": normal(9, 8), "kernel": normal(8, 4).at[:, 1].set(0)}
    both = sparse(by_magnitude, 0.25, rounding=nearest())
    found, report = jc.quantize.reconstruct(fn, params, [jnp.arange(9)], jc.quantize.int8(), both)
    assert not jnp.any(found["kernel"].materialize()[:, 1])
    reasons = {row.name: row.reason for row in report.leaves}
    assert "rounded without data" in reasons["table"]
    assert jnp.mean(found["table"].materialize() == 0) < 0.1


UNCALLED: Any = (sparsegpt, nearest)
REFUSED = {
    "a format without zero": (
        lambda: sparse(sparsegpt(), 0.5).solver(jc.quantize.formats.binary()),
        ValueError,
        r"sparse\(...\): binary.* has no code for 0",
    ),
    "inputs that no pattern divides": (
        lambda: jc.quantize.reconstruct(
            lambda params, x: x @ params["kernel"],
            {"kernel": normal(6, 4)},
            [normal(20, 6)],
            jc.quantize.int4(),
            sparse(by_magnitude, 0.5, rounding=nearest()),
        ),
        ValueError,
        r"reconstruct: leaf 'kernel' cannot be solved: 4 does not divide the 6 inputs of an "
        r"output. Leave it out, or take padded",
    ),
    "no sparsity": (lambda: sparse(sparsegpt(), 1.0), ValueError, r"sparse\(sparsity=1.0\)"),
    "no solver": (lambda: sparse(UNCALLED[0], 0.5), TypeError, r"sparse\(solver=sparsegpt\)"),
    "no rounding": (
        lambda: sparse(sparsegpt(), 0.5, rounding=UNCALLED[1]),
        TypeError,
        r"sparse\(rounding=nearest\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sparse_is_refused(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()
