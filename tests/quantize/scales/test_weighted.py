"""Ranges by weighted errors: never worse, the best by hand, any layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, quantize
from jaxcompress.quantize.rounding import nearest
from jaxcompress.quantize.scales.weighted import SHARES, weighted, weighted_by

RANDOM = np.random.default_rng(0)
INPUTS = 16
ENERGY = np.float32(np.exp(2 * RANDOM.normal(size=INPUTS)))


def rounded(ranges, spec, weight):
    solver = nearest(ranges).solver(spec)
    run = jax.jit(lambda w: solver.weight(solver.solve(w, jnp.diag(ENERGY))))
    return np.float64(run(weight))


@pytest.mark.parametrize(
    "spec",
    [formats.int3(), formats.uint2(group_size=8), formats.nvfp4(), formats.codebook(3)],
    ids=str,
)
def test_no_output_errs_more_by_energy(spec):
    weight = RANDOM.standard_t(3, (8, INPUTS)).astype(np.float32)
    found, plain = (
        np.sum(ENERGY * np.square(rounded(ranges, spec, weight) - weight), axis=1)
        for ranges in (weighted(), jc.quantize.ranges.min_max)
    )
    assert np.all(found <= plain * (1 + INPUTS * 2**-23))
    assert np.sum(found) < 0.9 * np.sum(plain)


def test_the_best_share_is_that_of_a_loop():
    weight = RANDOM.standard_t(3, (6, INPUTS)).astype(np.float32)
    found = rounded(weighted(), formats.int3(), weight)
    for row, values in zip(np.float64(weight), found, strict=True):
        errors = []
        for share in SHARES:
            scale = share * np.abs(row).max() / 3
            by_hand = np.clip(np.round(row / scale), -3, 3) * scale
            errors.append(np.sum(ENERGY * np.square(by_hand - row)))
        own = np.sum(ENERGY * np.square(values - row))
        np.testing.assert_allclose(own, min(errors), rtol=1e-4)


def test_an_importance_lies_as_its_leaf():
    """A stack of (inputs, outputs): as each layer alone, with its own importance."""
    stack = RANDOM.standard_t(3, (2, 8, 4)).astype(np.float32)
    importance = np.float32(np.exp(2 * RANDOM.normal(size=stack.shape)))
    spec = formats.int3(group_size=4)
    roles = jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))
    whole, _ = quantize(
        {"w": jnp.asarray(stack)},
        spec,
        axes={"w": roles},
        rounding=nearest(weighted_by(importance)),
    )
    for layer, own, values in zip(stack, importance, whole["w"].materialize(), strict=True):
        alone, _ = quantize({"w": jnp.asarray(layer)}, spec, rounding=nearest(weighted_by(own)))
        np.testing.assert_allclose(values, alone["w"].materialize(), rtol=1e-6)


def test_an_importance_of_another_shape_is_refused():
    rounding = nearest(weighted_by(np.ones((3, 3))))
    with pytest.raises(ValueError, match=r"weighted_by\(importance=\.\.\.\) has shape \(3, 3\)"):
        quantize({"w": jnp.ones((4, 4))}, formats.int4(), rounding=rounding)
