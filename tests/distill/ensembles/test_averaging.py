"""Means of weights: leaf by leaf in float32, and soups that never get worse."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

average: Any = jc.distill.ensembles.average  # wrong arguments are passed, too
greedy_soup: Any = jc.distill.ensembles.greedy_soup


def members(count=3):
    random = np.random.default_rng(0)
    return [
        {
            "kernel": jnp.asarray(random.normal(size=(4, 3)), jnp.float32),
            "half": jnp.asarray(random.normal(size=5), jnp.bfloat16),
            "steps": jnp.array(7),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("weights", [None, [0.5, 0.25, 0.25]])
def test_the_mean_of_each_leaf(weights):
    trees, shares = members(), weights or [1 / 3] * 3
    mean = average(trees, weights)
    for name in ("kernel", "half"):
        exact = sum(
            s * np.asarray(tree[name], np.float64) for s, tree in zip(shares, trees, strict=True)
        )
        assert mean[name].dtype == trees[0][name].dtype
        # The largest of three products and sums, and the cast to the leaf's dtype.
        off = 12 * float(np.finfo(np.float32).eps) + float(jnp.finfo(mean[name].dtype).eps)
        np.testing.assert_allclose(np.asarray(mean[name], np.float64), exact, rtol=off, atol=1e-6)
    assert mean["steps"] == 7


def test_one_member_is_its_own_mean_and_inputs_stay():
    trees = members(1)
    kept = np.array(trees[0]["kernel"])
    np.testing.assert_array_equal(average(trees)["kernel"], kept)
    np.testing.assert_array_equal(trees[0]["kernel"], kept)


def test_a_soup_is_no_worse_than_its_best_member():
    random = np.random.default_rng(1)
    trees = [{"w": jnp.asarray(random.normal(size=6), jnp.float32)} for _ in range(5)]

    def score(params):
        return -float(jnp.sum(params["w"] ** 2))

    soup = greedy_soup(trees, score)
    assert soup.score == score(soup.params) >= max(map(score, trees))
    assert len(soup.members) > 1
    np.testing.assert_array_equal(
        soup.params["w"], average([trees[index] for index in soup.members])["w"]
    )
    spoiled = greedy_soup([*trees, {"w": jnp.full(6, 100.0)}], score)
    assert spoiled.members == soup.members


def quantized():
    spec = jc.quantize.int8()
    return jc.quantize.quantize({"kernel": jnp.ones((4, 4))}, spec)[0]


ONE, OTHER = members(2)
WRONG = [
    (lambda: average([]), ValueError, r"^average\(members=\[\]\) holds no params"),
    (lambda: average(ONE), TypeError, r"must be a list"),
    (lambda: average([ONE, {"kernel": ONE["kernel"]}]), ValueError, "leaf 'half'"),
    (
        lambda: average([ONE, OTHER | {"steps": jnp.array(8)}]),
        ValueError,
        "differs between members",
    ),
    (
        lambda: average([ONE, OTHER | {"half": jnp.ones(5)}]),
        ValueError,
        "'half' differs in shape or",
    ),
    (lambda: average([ONE, OTHER], [0.5, 0.6]), ValueError, "must be of sum 1"),
    (lambda: average([ONE, OTHER], [1.0]), ValueError, "one for each of 2"),
    (lambda: average([ONE, OTHER], "equal"), TypeError, "array of real numbers"),
    (lambda: average([quantized(), quantized()]), TypeError, "'kernel' is a QTensor"),
    (lambda: greedy_soup([ONE], lambda params: np.nan), ValueError, "a score is NaN"),
    (lambda: greedy_soup([ONE], 3), TypeError, r"^greedy_soup\(score=3\) must be a function"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
