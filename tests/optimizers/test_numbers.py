"""Numbers that no factory takes: found in its signature, so that none is left out."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import optimizers
from tests.optimizers.factories import (
    ARGUMENTS,
    COUNTS,
    ENDS,
    FACTORIES,
    NO_FACTORIES,
    OPTIMIZERS,
    PARAMS,
    built,
    extra_arguments,
)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_what_is_not_finite_negative_or_not_whole_is_refused(name, argument):
    wrong = [math.nan, math.inf, -math.inf, np.float32(np.nan)]
    wrong += [] if argument in ENDS else [-3.5]
    if argument in COUNTS:
        wrong += [2.5, 2.0, -1, True, np.float64(2)]
    for value in wrong:
        with pytest.raises(ValueError, match=re.escape(f"{name}({argument}={value}) must be ")):
            built(name, **{argument: value})


def test_counts_and_other_numbers_are_told_apart():
    assert {argument for _, argument in ARGUMENTS} >= COUNTS | {"learning_rate", "scale", "rate"}
    assert set(NO_FACTORIES) <= set(vars(optimizers))


@pytest.mark.parametrize(
    ("name", "argument"),
    [("soap", "every"), ("shampoo", "every"), ("galore", "every"), ("schedule_free", "warmup")],
)
def test_counts_may_be_arrays_of_ints(name, argument):
    """As `inject_hyperparams` makes them; above 2**24 a float32 counts no more."""
    built(name, **{argument: jnp.int32(3)})
    built(name, **{argument: np.int64(3)})
    with pytest.raises(ValueError, match=rf"^{name}\({argument}=3.0\) must be at least"):
        built(name, **{argument: jnp.float32(3)})


WRONG = {
    "fewer rows": PARAMS | {"kernel": jnp.ones((1, 3))},
    "more rows": PARAMS | {"bias": jnp.ones((4, 3))},
    "a number": PARAMS | {"bias": jnp.ones(())},
    "a batch": PARAMS | {"kernel": jnp.ones((2, 4, 3))},
}


UNCHECKED = {"muon": "optax.partition sees them first", "round_params": "bfloat16 params only"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_of_another_shape_than_the_params_are_refused(name):
    extra = extra_arguments(name)
    optimizer = (
        optimizers.round_params(jax.random.key(0)) if name == "round_params" else built(name)
    )
    params = jax.tree.map(
        lambda leaf: leaf.astype(jnp.bfloat16 if name == "round_params" else jnp.float32), PARAMS
    )
    opt_state = optimizer.init(params)
    for grads in WRONG.values():
        with pytest.raises(ValueError, match=r"the gradient of leaf '(kernel|bias)' has shape"):
            optimizer.update(grads, opt_state, params, **extra)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in UNCHECKED])
def test_gradients_of_other_leaves_than_the_params_are_refused_by_name(name):
    optimizer = built(name)
    opt_state, bias = optimizer.init(PARAMS), PARAMS["bias"]
    message = r"of gradients and params the first has a leaf at 'offset' and the second has none"
    with pytest.raises(ValueError, match=message):
        optimizer.update(
            {"kernel": PARAMS["kernel"], "offset": bias},
            opt_state,
            PARAMS,
            **extra_arguments(name),
        )


@pytest.mark.parametrize("name", ["adam", "heavy_ball", "soap", "shampoo", "galore"])
def test_moments_tell_shapes_where_there_are_no_params(name):
    optimizer = built(name, **({"inner": optimizers.scale_by_adam()} if name == "galore" else {}))
    with pytest.raises(ValueError, match=r"the gradient of leaf 'bias' has shape \(4, 3\), its"):
        optimizer.update(WRONG["more rows"], optimizer.init(PARAMS))


@pytest.mark.parametrize(
    ("name", "argument", "count"),
    [
        ("scale_by_shampoo", "block", 200),
        ("scale_by_soap", "largest_side", 200),
        ("scale_by_muon", "steps", 5),
        ("scale_by_lbfgs", "memory", 3),
    ],
)
def test_a_narrow_count_is_computed_with_as_its_int(name, argument, count):
    params = {"kernel": jax.random.normal(jax.random.key(1), (300, 2))}
    updates = [
        optimizer.update(params, optimizer.init(params), params)[0]["kernel"]
        for number in (count, np.uint8(count))
        for optimizer in [FACTORIES[name](**{argument: number})]
    ]
    np.testing.assert_array_equal(*updates)
