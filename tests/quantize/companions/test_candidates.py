"""Choosing among candidates: probabilities by hand, and errors beside deviations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.draws import DEVIATION, draws, streams
from jaxcompress.core.hashed import places
from jaxcompress.quantize.companions import candidates
from jaxcompress.quantize.companions.candidates import chosen, members


def of_layer(entries: int, count: int, seed: int) -> np.ndarray:
    """(entries, candidates) in deviations."""
    numbers = draws(streams(entries, seed)[:, None], jnp.arange(count, dtype=jnp.uint32)[None])
    return np.float64(numbers) / DEVIATION


def test_every_entry_is_once_in_the_column_of_its_block():
    table = members(100, 7, 3)
    block, _ = places(100, 7, 3)
    for column in range(7):
        held = table[:, column][table[:, column] >= 0]
        np.testing.assert_array_equal(held, np.flatnonzero(np.asarray(block) == column))


def test_candidates_are_chosen_as_often_as_importance_says():
    """Of 2 blocks with 16 candidates each, over 4,000 keys."""
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=5), -random.uniform(0.2, 2, 5)
    table, keys = members(5, 2, 1), jax.random.split(jax.random.key(0), 4_000)
    arrays = jnp.float32(mean), jnp.float32(log_variance)
    found = jax.jit(jax.vmap(lambda key: chosen(*arrays, table, key, (4, 1))))(keys)
    z, (m, u) = of_layer(5, 16, 1), (mean[:, None], log_variance[:, None])
    ratios = z**2 / 2 - (z - m) ** 2 / (2 * np.exp(u))
    for column in range(2):
        own = table[:, column][table[:, column] >= 0]
        weights = np.exp(ratios[own].sum(0))
        expected = 4_000 * weights / weights.sum()
        counts = np.bincount(np.asarray(found)[:, column], minlength=16)
        kept = expected > 5
        # 99.99 % of chi-square with 15 degrees of freedom.
        assert np.sum((counts - expected)[kept] ** 2 / expected[kept]) < 44
        assert counts[~kept].sum() <= 5 * expected[~kept].sum() + 10


@pytest.mark.parametrize("at_once", [2**17, 64])
def test_chunks_find_the_best_of_all(at_once, monkeypatch):
    """Where q is so narrow that chance has no say."""
    monkeypatch.setattr(candidates, "AT_ONCE", at_once)
    candidates._sampled.clear_cache()
    mean, log_variance = jnp.linspace(-1.5, 1.5, 12), jnp.full(12, -18.0)
    table = members(12, 9, 5)
    found = np.asarray(chosen(mean, log_variance, table, jax.random.key(0), (10, 5)))
    candidates._sampled.clear_cache()
    off = (of_layer(12, 1024, 5) - np.float64(mean)[:, None]) ** 2
    for column in range(9):
        own = table[:, column][table[:, column] >= 0]
        assert own.size == 0 or found[column] == np.argmin(off[own].sum(0))


@pytest.mark.parametrize(("spare", "low", "high"), [(5, 0.9, 1.15), (-6, 1.6, 100.0)])
def test_errors_are_those_of_a_draw_where_candidates_are_enough(spare, low, high):
    """In 200 blocks of four weights; with too few candidates they are larger."""
    bits, random = 10, np.random.default_rng(0)
    # With mean² = 1 - variance a weight diverges by -log_variance / 2, a block by four.
    log_variance = np.full(800, -(bits - spare) * np.log(2) / 2, np.float32)
    mean = np.sqrt(1 - np.exp(log_variance)) * np.sign(random.normal(size=800)).astype("f4")
    table = np.arange(800, dtype=np.int32).reshape(4, 200)
    found = chosen(
        jnp.asarray(mean), jnp.asarray(log_variance), table, jax.random.key(1), (bits, 0)
    )
    z = draws(streams(800, 0), jnp.tile(found, 4)) / DEVIATION
    squares = np.mean((np.asarray(z) - mean) ** 2 / np.exp(log_variance))
    assert low < squares < high
