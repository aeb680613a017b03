"""Every criterion scores in float32, keeps its state's form, and equals its oracle."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.criterion import Criterion
from jaxcompress.prune import magnitude


class Case(NamedTuple):
    name: str
    criterion: Criterion
    oracle: Callable[[np.ndarray, np.ndarray], np.ndarray]


CRITERIA = [
    Case("magnitude", magnitude(), oracle=lambda param, grad: np.abs(param)),
]

criteria = pytest.mark.parametrize("case", CRITERIA, ids=lambda case: case.name)


def tree(seed: int, dtype) -> dict:
    random = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(random.standard_normal((3, 4)), dtype),
        "left out": jnp.zeros((), jnp.float32),
    }


@criteria
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_scores_equal_the_oracle(case, dtype):
    params, grads = tree(0, dtype), tree(1, dtype)
    state = case.criterion.update(grads, case.criterion.init(params), params)
    scores = case.criterion.score(state, params)
    assert jax.tree.structure(scores) == jax.tree.structure(params)
    for score, param, grad in zip(*map(jax.tree.leaves, (scores, params, grads)), strict=True):
        assert score.dtype == jnp.float32
        expected = case.oracle(np.asarray(param, np.float32), np.asarray(grad, np.float32))
        np.testing.assert_array_equal(score, expected)


@criteria
def test_an_update_keeps_the_form_of_the_state(case):
    params = tree(0, jnp.bfloat16)
    before = jax.eval_shape(case.criterion.init, params)
    after = jax.eval_shape(case.criterion.update, params, before, params)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert jax.tree.leaves(before) == jax.tree.leaves(after)
