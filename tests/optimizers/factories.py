"""Every function that makes an optimizer or a part of one, found by its signature."""

import inspect
import typing

import jax
import jax.numpy as jnp
import optax

from jaxcompress import optimizers

GIVEN = {
    "decay": 0.9,
    "inner": optax.sgd(0.1),
    "key": jax.random.key(0),
    "layers": (),
    "learning_rate": 0.1,
    "rank": 2,
    "weight": 0.1,
    "low": -0.5,
    "high": 0.5,
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

ENDS = {"low", "high"}
"""Numbers that may be negative."""

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


def required(name: str) -> dict[str, typing.Any]:
    """The arguments without a default, as in `GIVEN`."""
    return {
        parameter.name: GIVEN[parameter.name]
        for parameter in inspect.signature(FACTORIES[name]).parameters.values()
        if parameter.default is parameter.empty
    }


def built(name: str, **options):
    return FACTORIES[name](**required(name) | options)


def model(params, x):
    return x @ params["kernel"] + params["bias"][None]


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

SHAPES = {"block", "block_size", "largest_side", "memory", "rank"}
"""Numbers that shapes of the state follow from: no array, traced or not, can be one."""

OPTIMIZERS = sorted(set(FACTORIES) - NO_OPTIMIZERS | {"round_params"})


def numbers(name: str) -> dict[str, float]:
    """Each number that a factory takes, at its default or as in `GIVEN`."""
    parameters = inspect.signature(FACTORIES[name]).parameters
    values = {
        argument: GIVEN.get(argument, parameters[argument].default)
        for each, argument in ARGUMENTS
        if each == name
    }
    # Optional rates are learning rates.
    return {argument: 0.1 if value is None else value for argument, value in values.items()}


def extra_arguments(name: str) -> dict:
    """What the optimizer's `update` takes beside gradients, state and params."""
    return {} if name == "scale_by_lbfgs" else EXTRA.get(name.removeprefix("scale_by_"), {})
