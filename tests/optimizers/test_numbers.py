"""Numbers that no factory takes: found in its signature, so that none is left out."""

import inspect
import math
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcompress import optimizers

GIVEN = {
    "decay": 0.9,
    "inner": optax.sgd(0.1),
    "key": jax.random.key(0),
    "layers": (),
    "learning_rate": 0.1,
    "rank": 2,
    "weight": 0.1,
}
"""What factories want; all else has a default."""

COUNTS = {
    "block",
    "block_size",
    "every",
    "interval",
    "iterations",
    "largest_side",
    "measure_every",
    "memory",
    "rank",
    "steps",
    "warmup",
}

NO_FACTORIES = {
    "adam_scale": "shapes",
    "check_skips": "of a state",
    "evaluation_params": "of a state",
    "gauss_newton_bartlett": "an estimate",
    "hessian_vector": "an estimate",
    "hidden": "a selector",
    "hutchinson": "an estimate",
    "kfac_factors": "an estimate",
    "kfac_layers": "of a program",
    "large": "a selector",
    "leafwise": "for whom writes an optimizer",
    "orthogonalized": "of an array",
    "read": "of a state",
    "round_params": "takes no number",
    "rounded_to_bfloat16": "of an array",
    "scale_loss": "of a loss",
    "spectral_scale": "shapes",
    "unscale": "of gradients",
}
"""What is no factory, and why."""

FACTORIES = {
    name: function
    for name, function in inspect.getmembers(optimizers, inspect.isfunction)
    if name not in NO_FACTORIES
}


def takes_a_number(parameter: inspect.Parameter) -> bool:
    """Whether its type is, or allows, an int or a float, as `ArrayLike` does."""
    kinds = (parameter.annotation, *typing.get_args(parameter.annotation))
    return int in kinds or float in kinds


ARGUMENTS = [
    (name, parameter.name)
    for name, factory in FACTORIES.items()
    for parameter in inspect.signature(factory).parameters.values()
    if takes_a_number(parameter)
]


def built(name: str, **options):
    wanted = {
        parameter.name: GIVEN[parameter.name]
        for parameter in inspect.signature(FACTORIES[name]).parameters.values()
        if parameter.default is parameter.empty
    }
    return FACTORIES[name](**wanted | options)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_what_is_not_finite_negative_or_not_whole_is_refused(name, argument):
    wrong = [math.nan, math.inf, -math.inf, -3.5, np.float32(np.nan)]
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


def model(params, x):
    return x @ params["kernel"] + params["bias"]


PARAMS = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}
INPUTS = jnp.ones((2, 4))


def squares(params):
    return jnp.sum(jnp.square(model(params, INPUTS)))


EXTRA = {
    "adahessian": {"diagonal": lambda key: PARAMS},
    "gauss_newton": {
        "outputs": lambda params: model(params, INPUTS),
        "loss": lambda outputs: jnp.sum(jnp.square(outputs)),
    },
    "kfac": {"factors": lambda key: optimizers.kfac_factors(model, PARAMS, (INPUTS,), key)},
    "lbfgs": {"value": 1.0, "grad": PARAMS, "value_fn": squares},
    "newton_cg": {"loss": squares},
    "sophia": {"diagonal": lambda key: PARAMS},
}
NO_OPTIMIZERS = {
    "categorical",
    "gaussian",
    "bfloat16",
    "dynamic8",
    "fp8",
    "linear4",
    "linear8",
    # Takes matrices alone; muon holds it.
    "scale_by_muon",
}
WRONG = {
    "fewer rows": PARAMS | {"kernel": jnp.ones((1, 3))},
    "more rows": PARAMS | {"bias": jnp.ones((4, 3))},
    "a number": PARAMS | {"bias": jnp.ones(())},
    "a batch": PARAMS | {"kernel": jnp.ones((2, 4, 3))},
}


@pytest.mark.parametrize("name", sorted(set(FACTORIES) - NO_OPTIMIZERS | {"round_params"}))
def test_gradients_of_another_shape_than_the_params_are_refused(name):
    extra = EXTRA.get(name.removeprefix("scale_by_"), {})
    extra = extra if name != "scale_by_lbfgs" else {}
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
