"""Chances of claims against full enumeration; sizes that reach them."""

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import (
    check_examples,
    claims,
    mcnemar,
    required_examples,
    sufficiency,
)
from jaxcompress.validate.intervals import paired_low, wilson

N = 40


GAINED, LOST = np.array([(g, k) for g in range(N + 1) for k in range(N + 1 - g)]).T


def enumerated(shown, discordance, difference):
    """The chance that counts are among the shown ones: every outcome of N examples."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    counts = np.stack([GAINED, LOST, N - GAINED - LOST], axis=1)
    return stats.multinomial.pmf(counts, N, shares)[shown].sum()


def above(gained, lost, limit):
    return paired_low(gained, lost, N, stats.norm.ppf(0.95)) > limit


NOT_WORSE = above(GAINED, LOST, -0.2)
EQUIVALENT = NOT_WORSE & above(LOST, GAINED, -0.2)
A_LOSS = np.array([g < k and mcnemar(g, k) < 0.05 for g, k in zip(GAINED, LOST, strict=True)])
CASES = [
    (claims.not_worse(margin=0.2, discordance=0.3), NOT_WORSE, 0.3, 0.0),
    (claims.not_worse(margin=0.2, discordance=0.2, difference=0.05), NOT_WORSE, 0.2, 0.05),
    (claims.equivalent(margin=0.2, discordance=0.1), EQUIVALENT, 0.1, 0.0),
    (claims.different(difference=-0.2, discordance=0.25), A_LOSS, 0.25, -0.2),
]


@pytest.mark.parametrize(("claim", "shown", "discordance", "difference"), CASES)
def test_the_chance_is_that_of_every_outcome(claim, shown, discordance, difference):
    # 32 counts of differing examples stand for all.
    expected = enumerated(shown, discordance, difference)
    assert 0.05 < expected < 0.95
    assert abs(claim(N) - expected) <= 1 / 32


def test_a_gain_is_shown_as_a_loss_is():
    one, other = (claims.different(difference=d, discordance=0.1) for d in (0.05, -0.05))
    assert one(300) == other(300)


def test_the_chance_of_a_width_is_that_of_its_interval():
    claim = claims.narrow(width=0.2, accuracy=0.8)
    widths = [high - low for low, high in (wilson(k, 50) for k in range(51))]
    expected = stats.binom.pmf(np.arange(51), 50, 0.8)[np.array(widths) <= 0.2].sum()
    np.testing.assert_allclose(claim(50), expected, rtol=1e-6)


def test_the_chance_for_a_mean_is_that_of_drawn_normals():
    claim = claims.mean_not_worse(margin=0.5, deviation=1.0)
    draws = np.random.default_rng(0).normal(size=(4000, 20))
    t = (draws.mean(axis=1) + 0.5) / (draws.std(axis=1, ddof=1) / np.sqrt(20))
    shown = np.mean(t > stats.t.ppf(0.95, 19))
    assert abs(claim(20) - shown) <= 4 * np.sqrt(0.25 / 4000)
    assert claim(1) == 0.0


@pytest.mark.parametrize(
    "claim",
    [
        claims.narrow(width=0.1, accuracy=0.9),
        claims.mean_not_worse(margin=0.2, deviation=1.0),
        claims.not_worse(margin=0.1, discordance=0.1),
        lambda n: min(1.0, n / 100),
        lambda n: 1.0,
    ],
)
def test_the_size_is_the_one_at_which_the_chance_is_reached(claim):
    n = required_examples(claim, power=0.7)
    assert claim(n) >= 0.7
    assert n == 1 or claim(n - 1) < 0.7


def test_sizes_near_the_normal_formula():
    """(z(0.95) + z(0.8))² · discordance / margin², and a little more for exactness."""
    normal = (1.645 + 0.842) ** 2 * 0.05 / 0.01**2
    n = required_examples(claims.not_worse(margin=0.01, discordance=0.05))
    assert normal < n < 1.1 * normal


def test_too_small_a_test_set_is_told_how_many_it_takes():
    claim = claims.mean_not_worse(margin=0.2, deviation=1.0)
    result = sufficiency(50, claim)
    assert not result.enough
    assert result.required == required_examples(claim)
    assert result.verdict == (
        f"too few examples: 50 examples show the claim with probability {claim(50):.2f}; it takes"
        f" about {result.required} for 0.8"
    )
    assert result.to_json()["verdict"] == result.verdict
    with pytest.raises(
        ValueError, match=rf"check_examples\(n=50, claim\): too few .* {result.required}"
    ):
        check_examples(50, claim)
    check_examples(result.required, claim)
    assert sufficiency(result.required, claim).verdict.startswith("enough examples")


def test_claims_that_no_number_of_examples_shows_are_refused():
    with pytest.raises(ValueError, match="worse by the margin"):
        claims.not_worse(margin=0.01, discordance=0.05, difference=-0.01)
    with pytest.raises(ValueError, match="differ by the margin"):
        claims.equivalent(margin=0.01, discordance=0.05, difference=0.02)
    with pytest.raises(ValueError, match="never shown to differ"):
        claims.different(difference=0.0, discordance=0.05)
    with pytest.raises(ValueError, match="at most the share of examples on which"):
        claims.different(difference=0.1, discordance=0.05)
    with pytest.raises(ValueError, match="Allow a wider margin"):
        required_examples(lambda n: 0.0)
    with pytest.raises(ValueError, match=r"required_examples\(claim\(n\)=2.0\)"):
        required_examples(lambda n: 2.0)
