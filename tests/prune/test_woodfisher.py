"""WoodFisher: scores and updates against the recursion for the inverse, by NumPy."""

import functools
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.prune import FisherBlocks, Target, woodfisher
from jaxcompress.prune.allocations import globally
from jaxcompress.prune.patterns import n_of_m
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)
DAMPING = 1e-2


def normal(*shape: int) -> jax.Array:
    return on_device(RANDOM.standard_normal(shape))


def model(params, x):
    x = jnp.tanh(x @ params["in"] + params["bias"])
    x, _ = jax.lax.scan(lambda x, kernel: (x @ kernel, None), x, params["layers"])
    return x @ params["out"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1) / 2


PARAMS = {
    "bias": normal(1, 5),
    "in": normal(3, 5),
    "layers": normal(2, 5, 5) / 2,
    "out": normal(5, 2),
}
BATCHES = [(normal(12, 3), normal(12, 2)), ((normal(8, 3),), normal(8, 2))]
AXES = jc.graph.axes(model, PARAMS, BATCHES[0][0])


@functools.cache
def gradients() -> dict[str, np.ndarray]:
    """Of every example, (examples, slices, outputs · inputs) by leaf."""
    x = jnp.concatenate([BATCHES[0][0], BATCHES[1][0][0]])
    y = jnp.concatenate([BATCHES[0][1], BATCHES[1][1]])
    grad = jax.jit(jax.grad(lambda params, x, y: loss(model(params, x[None]), y[None]).sum()))
    each = [grad(PARAMS, *example) for example in zip(x, y, strict=True)]
    return {
        name: np.stack([flat(np.asarray(grads[name], np.float64)) for grads in each])
        for name in ("in", "layers", "out")
    }


def flat(leaf: np.ndarray) -> np.ndarray:
    """The leaf (…, inputs, outputs) as (slices, outputs · inputs)."""
    moved = np.swapaxes(leaf, -1, -2)
    return moved.reshape(leaf.shape[0] if leaf.ndim == 3 else 1, -1)


def inverse_fisher(grads: np.ndarray) -> np.ndarray:
    """Woodbury's recursion over examples, from (examples, size)."""
    inverse = np.eye(grads.shape[1]) / DAMPING
    for grad in grads:
        along = inverse @ grad
        inverse -= np.outer(along, along) / (len(grads) + grad @ along)
    return inverse


def by_hand(size: int) -> dict:
    """The inverse of each block and the score of each weight, by leaf and slice."""
    found = {}
    for name, grads in gradients().items():
        weights = flat(np.asarray(PARAMS[name], np.float64))
        for s, row in enumerate(weights):
            cuts = [slice(b, min(b + size, len(row))) for b in range(0, len(row), size)]
            inverses = [inverse_fisher(grads[:, s, cut]) for cut in cuts]
            scores = [
                row[cut] ** 2 / (2 * np.diag(inverse))
                for cut, inverse in zip(cuts, inverses, strict=True)
            ]
            found[name, s] = row, cuts, inverses, np.concatenate(scores)
    return found


def after_the_others(row, cuts, inverses, gone):
    """w - F⁻¹[:, P] · (F⁻¹[P, P])⁻¹ · w_P, block by block."""
    row = row.copy()
    for cut, inverse in zip(cuts, inverses, strict=True):
        p = np.flatnonzero(gone[cut])
        change = inverse[:, p] @ np.linalg.solve(inverse[np.ix_(p, p)], row[cut][p])
        row[cut] = np.where(gone[cut], 0, row[cut] - change)
    return row


@pytest.mark.parametrize("size", [4, 50])
def test_params_equal_the_recursion(size):
    target, fisher = Target(0.4, axes=AXES), FisherBlocks(size, DAMPING)
    found, report = woodfisher(model, PARAMS, loss, BATCHES, target, fisher=fisher)
    for (name, s), (row, cuts, inverses, scores) in by_hand(size).items():
        count = round(Fraction(float(np.float32(0.4))) * len(row))
        gone = np.isin(np.arange(len(row)), np.argsort(scores, kind="stable")[:count])
        # Squared gradients of about 100, damping of 0.01: conditions of 10_000.
        np.testing.assert_allclose(
            flat(np.asarray(found[name]))[s],
            after_the_others(row, cuts, inverses, gone),
            rtol=0,
            atol=10_000 * 2**-23,
        )
        np.testing.assert_array_equal(flat(np.asarray(found[name]))[s] == 0, gone)
    np.testing.assert_array_equal(found["bias"], PARAMS["bias"])
    assert [leaf.name for leaf in report.kept] == ["bias"]


def test_patterns_and_allocations_go_with_it():
    found, _ = woodfisher(
        model,
        PARAMS,
        loss,
        BATCHES,
        Target(0.5, allocate=globally, axes=AXES),
        fisher=FisherBlocks(damping=DAMPING),
    )
    scores = np.sort(np.concatenate([scores for *_, scores in by_hand(50).values()]))
    half = round(len(scores) / 2)
    bound = (scores[half - 1] + scores[half]) / 2
    for (name, s), (*_, scores) in by_hand(50).items():
        np.testing.assert_array_equal(flat(np.asarray(found[name]))[s] == 0, scores < bound)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_comes_back(dtype):
    params = {"kernel": normal(8, 3).astype(dtype)}
    found, _ = woodfisher(
        lambda params, x: x @ params["kernel"],
        params,
        loss,
        [(normal(16, 8).astype(dtype), normal(16, 3).astype(dtype))],
        Target(0.5, n_of_m(2, 4)),
    )
    assert found["kernel"].dtype == dtype
    np.testing.assert_array_equal(np.sum(np.asarray(found["kernel"]).reshape(2, 4, 3) == 0, 1), 2)


REFUSED = {
    "no batch": ({"batches": []}, "woodfisher(batches=[]) holds no batch"),
    "sparsity": ({"target": 1.0}, "woodfisher(target=1.0)"),
    "params": (
        {"params": {**PARAMS, "out": PARAMS["out"].at[0, 0].set(jnp.nan)}},
        "woodfisher: leaf 'out' holds 1 values",
    ),
    "data": (
        {"batches": [(BATCHES[0][0] * jnp.nan, BATCHES[0][1])]},
        "gradients of leaf 'in' are not finite",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pruned_is_refused(name):
    options, message = REFUSED[name]
    options = {"batches": BATCHES, "params": PARAMS, "target": Target(0.5, axes=AXES)} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        woodfisher(model, loss=loss, **options)


def test_blocks_are_checked_when_built():
    with pytest.raises(ValueError, match=r"FisherBlocks\(size=0\) must be at least 1"):
        FisherBlocks(size=0)
    with pytest.raises(ValueError, match=r"FisherBlocks\(damping=0\) must be above 0"):
        FisherBlocks(damping=0)
