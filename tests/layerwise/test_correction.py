"""The correction whose share held-out batches choose: against NumPy, and its laws."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.layerwise import held_out, solve, weight_solver
from jaxcompress.prune.solvers import sparsegpt
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def normal(*shape: int) -> jax.Array:
    return on_device(0.5 * RANDOM.standard_normal(shape))


def damped(moment: np.ndarray) -> np.ndarray:
    return moment + 0.01 * np.mean(np.diag(moment)) * np.eye(len(moment))


def stacked(params, x):
    """A layer, a stack of three, and one that ends them."""
    x = jnp.tanh(x @ params["first"])
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"])
    return x @ params["last"]


def fresh_params() -> dict[str, jax.Array]:
    return {"first": normal(8, 8), "layers": normal(3, 8, 8), "last": normal(8, 5)}


def coarse(weight, moment):
    """Rounds to a grid of 0.4, whatever the moment."""
    del moment
    return 0.4 * jnp.round(weight / 0.4)


def by_hand(params, data, held, shares):
    """Each kernel (inputs, outputs) with each share; the best on the held-out rows.

    Returns:
      The kernels in the order of the program, and the share of each.
    """
    streams = [np.asarray(x, np.float64) for x in (data, data, held, held)]
    found, taken = [], []
    for kernel in [params["first"], *params["layers"], params["last"]]:
        kernel = np.asarray(kernel, np.float64)
        x, now, x_held, held_now = streams
        met, lost = now.T @ now / len(now), (x - now).T @ now / len(now)
        change = kernel.T @ lost @ np.linalg.inv(damped(met))
        candidates = [0.4 * np.round((kernel.T + share * change) / 0.4).T for share in shares]
        errors = [np.sum((held_now @ each - x_held @ kernel) ** 2) for each in candidates]
        best = int(np.argmin(errors))
        found.append(candidates[best])
        taken.append(shares[best])
        streams = [
            np.tanh(x @ kernel),
            np.tanh(now @ found[-1]),
            np.tanh(x_held @ kernel),
            np.tanh(held_now @ found[-1]),
        ]
    return found, taken


def test_each_layer_takes_the_share_that_the_loop_finds():
    params, data, held = fresh_params(), normal(20, 8), normal(30, 8)
    solvers = dict.fromkeys(params, weight_solver(coarse))
    batches = [(data[:10],), (data[10:],)]
    by_rest = held_out([held[:15], (held[15:],)])
    solved = solve("test", stacked, params, batches, solvers, by_rest)
    kernels, taken = by_hand(params, data, held, SHARES)
    assert len(set(taken)) > 2
    assert solved.shares == {"first": (0,), "layers": tuple(taken[1:4]), "last": (taken[4],)}
    first, *layers, last = kernels
    expected = {"first": first, "layers": np.stack(layers), "last": last}
    for name, kernel in expected.items():
        # Multiples of 0.4, formed in float32.
        np.testing.assert_allclose(solved.leaves[name], kernel, rtol=2**-22)


@pytest.mark.parametrize("shares", [(0.0,), (0.5,)])
def test_one_share_is_that_number_bit_for_bit(shares):
    params, data = fresh_params(), [(normal(20, 8),)]
    solvers = dict.fromkeys(params, weight_solver(coarse))
    by_rest = held_out([normal(9, 8)], shares=shares)
    found = solve("test", stacked, params, data, solvers, by_rest)
    expected = solve("test", stacked, params, data, solvers, shares[0])
    for name in params:
        np.testing.assert_array_equal(found.leaves[name], expected.leaves[name])
    assert found.shares["layers"] == 3 * shares
    assert expected.shares == {}


def test_whole_corrections_that_lose_nothing_are_the_least_squares_optimum():
    """Without a rounding the share is 1, and the loss that of the normal equations."""
    params = {"first": normal(8, 8), "second": normal(8, 5)}
    fn = lambda params, x: jnp.tanh(x @ params["first"]) @ params["second"]  # noqa: E731
    data = normal(400, 8)
    solvers = {
        "first": weight_solver(coarse),
        "second": weight_solver(lambda weight, moment: weight),
    }
    solved = solve("test", fn, params, [(data,)], solvers, held_out([data]))
    assert solved.shares["second"] == (1,)
    met = np.tanh(np.asarray(data @ solved.leaves["first"], np.float64))
    wanted = np.asarray(fn(params, data), np.float64)
    loss = np.sum((met @ np.asarray(solved.leaves["second"], np.float64) - wanted) ** 2)
    ridge = damped(met.T @ met / 400)
    change = np.linalg.solve(ridge, met.T @ (wanted - met @ params["second"]) / 400)
    optimum = np.sum((met @ (params["second"] + change) - wanted) ** 2)
    np.testing.assert_allclose(loss, optimum, rtol=1e-4)
    best = np.sum((met @ np.linalg.lstsq(met, wanted)[0] - wanted) ** 2)
    before = np.sum((met @ np.asarray(params["second"], np.float64) - wanted) ** 2)
    assert best <= loss < best + 0.02 * (before - best)


def test_held_out_data_lower_the_error_that_they_judge_and_the_report_says_the_share():
    params, data, held = fresh_params(), normal(200, 8), normal(60, 8)
    errors = []
    for correction in (0.0, held_out([held])):
        pruned, report = jc.prune.reconstruct(
            stacked, params, [data], sparsegpt(), 0.5, correction=correction
        )
        errors.append(float(jnp.sum((stacked(pruned, held) - stacked(params, held)) ** 2)))
    assert errors[1] < errors[0]
    numbers = r"(0|0\.25|0\.5|0\.75|1)"
    reasons = {row.name: row.reason for row in report.leaves}
    several = f"shares {numbers}, {numbers}, {numbers} of the correction, by held-out batches"
    assert re.search(several, reasons["layers"])
    assert re.search(f"; share {numbers} of the correction", reasons["last"])
    for leaf, before in zip(jax.tree.leaves(pruned), jax.tree.leaves(params), strict=True):
        assert jnp.sum(leaf == 0) == before.size // 2


def test_quantization_chooses_shares_as_well():
    params, data, held = fresh_params(), normal(200, 8), normal(60, 8)
    spec, errors = jc.quantize.formats.int2(), []
    for correction in (0.0, held_out([held])):
        quantized, report = jc.quantize.reconstruct(
            stacked, params, [data], spec, correction=correction
        )
        change = stacked(jc.materialize(quantized), held) - stacked(params, held)
        errors.append(float(jnp.sum(jnp.square(change))))
    assert errors[1] < errors[0]
    assert "of the correction, by held-out batches" in report.leaves[-1].reason


def apply(params, x):
    return x @ params["kernel"]


REFUSED = {
    "no batch": (lambda: held_out([]), ValueError, "held_out(batches=[]) holds no batch"),
    "no share": (lambda: held_out([1.0], shares=()), ValueError, "held_out(shares=()) holds no"),
    "a share": (
        lambda: held_out([1.0], shares=(0.0, 1.5)),
        ValueError,
        "held_out(shares=1.5) must be in [0, 1]",
    ),
    "one number": (lambda: held_out([1.0], shares=0.5), TypeError, "held_out(shares=0.5) must be"),
    "another number": (
        lambda: reconstructed(2.0),
        ValueError,
        "reconstruct(correction=2.0) must be in [0, 1]",
    ),
    "no row that reaches the leaf": (
        lambda: reconstructed(held_out([jnp.zeros((3, 6))])),
        ValueError,
        "held_out(batches=...): a matrix of leaf 'kernel' meets no input but 0",
    ),
    "rows that are not finite": (
        lambda: reconstructed(held_out([jnp.full((3, 6), jnp.inf)])),
        ValueError,
        "held_out(batches=...): leaf 'kernel' meets inputs whose products are not finite",
    ),
}


def reconstructed(correction):
    params, batches = {"kernel": normal(6, 4)}, [normal(20, 6)]
    return jc.prune.reconstruct(apply, params, batches, sparsegpt(), 0.5, correction=correction)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_choose_a_share_is_refused(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=re.escape(message)):
        call()
