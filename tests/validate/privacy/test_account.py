"""The account: published values, a closed form, its inverse, and what it refuses."""

import sys

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.privacy import epsilon, noise_multiplier

# Noise multiplier, epochs and epsilon at delta 1e-5 of the MNIST tutorial of TensorFlow
# Privacy (tutorials/README.md at 047e1ee; 60 000 examples, batches of 256), by Rényi
# accounting, and what PLDAccountant of dp-accounting 0.6.0 gives, which is tighter.
PUBLISHED = [(0.6, 30, 9.74, 7.69003), (1.2, 10, 1.20, 0.79229)]


def gaussian_delta(sigma: float, spent: float) -> float:
    """Balle and Wang 2018, arXiv:1805.06530, theorem 8: one Gaussian mechanism."""
    shift = 1 / (2 * sigma)
    return stats.norm.cdf(shift - spent * sigma) - np.exp(spent) * stats.norm.cdf(
        -shift - spent * sigma
    )


@pytest.mark.parametrize(("noise", "epochs", "published", "expected"), PUBLISHED)
def test_the_account_is_the_published_one(noise, epochs, published, expected):
    pytest.importorskip("dp_accounting")
    found = epsilon(noise, 256 / 60_000, int(epochs * 60_000 / 256), 1e-5)
    assert found == pytest.approx(expected, abs=1e-3)
    assert found <= published


def test_one_step_on_all_examples_is_the_gaussian_mechanism():
    pytest.importorskip("dp_accounting")
    for sigma in (0.8, 2.0):
        found = epsilon(sigma, 1.0, 1, 1e-5)
        # The accountant rounds up, on a grid of 1e-4 by default.
        assert gaussian_delta(sigma, found) <= 1e-5 <= gaussian_delta(sigma, found - 1e-3)


def test_the_inverse_spends_what_was_asked_for_and_no_more():
    pytest.importorskip("dp_accounting")
    noise = noise_multiplier(2.0, 1.0, 4, 1e-5)
    assert epsilon(noise, 1.0, 4, 1e-5) <= 2.0
    assert epsilon(noise - 3e-3, 1.0, 4, 1e-5) > 2.0


def test_without_noise_nothing_is_private():
    pytest.importorskip("dp_accounting")
    assert epsilon(0.0, 0.1, 10, 1e-5) == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling_probability": 1.5}, r"sampling_probability=1.5\) must be in \(0, 1\]"),
        ({"sampling_probability": 0.0}, r"sampling_probability=0.0\) must be"),
        ({"steps": 0}, r"steps=0\) must be at least 1"),
        ({"delta": 0.0}, r"delta=0.0\) must be in \(0, 1\)"),
        ({"delta": 1.0}, r"delta=1.0\) must be in \(0, 1\)"),
    ],
)
@pytest.mark.parametrize("function", [epsilon, noise_multiplier])
def test_what_is_out_of_range_is_refused(function, change, message):
    given = {"sampling_probability": 0.1, "steps": 10, "delta": 1e-5} | change
    with pytest.raises(ValueError, match=rf"{function.__name__}\({message}"):
        function(1.0, **given)


@pytest.mark.parametrize("function", [epsilon, noise_multiplier])
def test_a_missing_accountant_names_its_extra(function, monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError, match=rf"{function.__name__} needs dp-accounting.*\[privacy\]"):
        function(1.0, 0.1, 10, 1e-5)
