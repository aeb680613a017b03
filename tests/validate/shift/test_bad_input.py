"""What no test of two sets can be made of is refused by name, before any work."""

import numpy as np
import pytest

from jaxcompress.validate import shift

GOOD = np.random.default_rng(0).normal(size=(30, 2))
NAN = GOOD.copy()
NAN[3, 1] = np.nan
TESTS = [
    shift.population_stability,
    shift.kolmogorov_smirnov,
    shift.kernel_test,
    shift.linear_kernel_test,
    shift.classifier_test,
    shift.drift,
]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
@pytest.mark.parametrize(
    ("new", "said"),
    [
        (GOOD[:, :1], "needs examples of one shape in both sets"),
        (GOOD[:1], "two examples or more"),
        (GOOD[:0], "two examples or more"),
        (GOOD[:, :0], "two examples or more"),
        (NAN, "1 of 60 values are not finite, the first is nan in feature 1 of example 3"),
    ],
)
def test_of_two_sets(test, new, said):
    with pytest.raises(ValueError, match=said) as error:
        test(GOOD, new)
    assert str(error.value).startswith(f"{test.__name__}(")
    if "first is nan" in said:
        with pytest.raises(ValueError, match=r"\(reference\)"):
            test(new, GOOD)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: shift.population_stability(GOOD * [1, 0], GOOD),
            "1 of 2 features are constant, the first is feature 1",
        ),
        (lambda: shift.linear_kernel_test(GOOD, GOOD, bandwidth=1e-6), "all pairs give 0"),
        (lambda: shift.linear_kernel_test(GOOD[:19], GOOD), "needs 20 or more in both"),
        (lambda: shift.classifier_test(GOOD[:3], GOOD), "needs four or more in both"),
        (lambda: shift.drift(GOOD[:3], GOOD), "needs four or more in both"),
        (lambda: shift.category_stability([1, 1], [1, 1, 1]), "all 5 examples are 1"),
        (lambda: shift.label_shift([0, 1], [0, 1, 1], [0]), "the same examples in both"),
        (lambda: shift.label_shift([0, 2], [0, 2], [0]), "there is none of class 1"),
        (lambda: shift.label_shift([0, 0], [0, 0], [0]), "class 0 alone"),
        (lambda: shift.label_shift([0, 1], [0, 1], [5]), "holds class 5, and the labels go to 1"),
        (lambda: shift.label_shift([0, 0, 0], [0, 1, 1], [0]), "Merge them"),
        (
            lambda: shift.proportion_difference_interval(5, 4, 1, 2),
            "needs successes <= n",
        ),
        (lambda: shift.mean_difference_interval(GOOD, GOOD), "one number per example"),
    ],
)
def test_of_one(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_texts_and_numbers_are_not_compared():
    with pytest.raises(TypeError, match="integers in both, or texts in both"):
        shift.category_stability([0, 1], ["0", "1"])
    with pytest.raises(TypeError, match="population_stability"):
        shift.category_stability([0.5, 1], [0.5, 1])
