"""Every verb under `jit` and under the modes of JAX that find mistakes."""

import contextlib

import jax
import jax.numpy as jnp
import pytest

from tests.verbs import DATA, EAGER, TRACED


@pytest.mark.parametrize("name", EAGER)
def test_a_verb_that_reads_values_says_so_under_jit(name):
    """Whichever of its arrays is traced, if any."""

    def on_params(params, deep):
        EAGER[name](DATA._replace(params=params, deep=deep))
        return 0

    def on_data(x, labels):
        EAGER[name](DATA._replace(x=x, labels=labels))
        return 0

    refused = "reads values, and .* traced by jit|has no numbers yet"
    with pytest.raises(TypeError, match=refused):
        jax.jit(on_params)(DATA.params, DATA.deep)
    with pytest.raises(TypeError, match=refused):
        jax.jit(on_data)(DATA.x, DATA.labels)


def strictly() -> contextlib.ExitStack:
    """No promotion of dtypes or ranks that is not written down; 64 bits exist."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.numpy_dtype_promotion("strict"))
    stack.enter_context(jax.numpy_rank_promotion("raise"))
    stack.enter_context(jax.enable_x64(True))
    return stack


@pytest.mark.parametrize("name", TRACED)
def test_nothing_is_promoted_by_chance(name):
    with strictly():
        jax.eval_shape(TRACED[name], DATA)


LEFT_OUT = {
    "calibrate",
    "check_skips",
    "evaluate by a loss",
    "evaluate",
    "masks",
    "one_shot",
    "plan",
    "predict",
    "prune.iterative",
    "read",
    "reconstruct by surgeon",
    "remove by activation",
    "remove by magnitude",
    "remove by second_order",
    "remove by taylor",
    "run, static",
    "structure.iterative",
    "synflow",
}
"""Rows most of whose code runs in others: each compiles anew in these modes."""


@pytest.mark.parametrize("name", [name for name in EAGER if name not in LEFT_OUT])
def test_a_verb_keeps_to_its_dtypes_and_makes_no_nan(name):
    with strictly(), jax.debug_nans(True):
        EAGER[name](jax.tree.map(jnp.asarray, DATA))
