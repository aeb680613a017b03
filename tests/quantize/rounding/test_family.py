"""Laws of every rounding: no worse than to nearest, zeros stay, nothing breaks it."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.quantize import rounding
from jaxcompress.quantize.rounding.matrices import decoded, encoded
from tests.quantize.rounding.family import AROUND, ROUNDINGS

SHAPE = OUTPUTS, INPUTS = 6, 32
RANDOM = np.random.default_rng(0)
EACH = [
    pytest.param(name, spec, id=f"{name}-{spec}")
    for name, row in ROUNDINGS.items()
    for spec in row.formats
]


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def moment(rows: int, inputs: int = INPUTS) -> np.ndarray:
    """E[x xᵀ] of inputs that go together, and of very unequal energies."""
    x = normal(rows, inputs) @ (np.eye(inputs) + 0.3 * normal(inputs, inputs))
    x = x * np.exp(normal(inputs))
    return (x.T @ x / rows).astype(np.float32)


@functools.cache
def compiled(name: str, spec):
    """(weight, second moment) -> codes, values, and those of the nearest levels.

    One program for all laws.
    """
    solver = ROUNDINGS[name].make().solver(spec)

    def run(weight, second_moment):
        found = solver.solve(weight, second_moment)
        closest = decoded(encoded(weight, found.on, spec), found.on, spec)
        return found.codes, solver.weight(found), closest

    return jax.jit(run)


@functools.cache
def nearest(spec):
    solver = rounding.nearest().solver(spec)
    return jax.jit(lambda weight: solver.weight(solver.solve(weight, jnp.eye(weight.shape[1]))))


@pytest.mark.parametrize(("name", "spec"), EACH)
def test_it_is_never_above_nearest(name, spec):
    """By its own measure, with many rows of data, with few, and without any."""
    measure = ROUNDINGS[name].measure
    for second_moment in (moment(128), moment(8), np.eye(INPUTS, dtype=np.float32)):
        weight = RANDOM.standard_t(3, SHAPE).astype(np.float32)
        _, found, _ = compiled(name, spec)(weight, second_moment)
        own, other = (
            np.sum(measure(np.float64(values) - weight, second_moment.astype(np.float64)))
            for values in (found, nearest(spec)(weight))
        )
        # The float32 sums, of which the less was taken, are off by a share of this.
        assert own <= other * (1 + INPUTS * OUTPUTS * 2**-23)


def of_some(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A second moment to which every fifth input is always 0, and which those are."""
    unreached = np.arange(INPUTS) % 5 == 0
    return moment(rows) * np.outer(~unreached, ~unreached), unreached


@pytest.mark.parametrize(("name", "spec"), EACH)
def test_inputs_that_no_data_reach_count_as_the_mean_of_the_others(name, spec):
    """So their weights stay near: less than a step farther than by nearest."""
    second_moment, unreached = of_some(128)
    weight = normal(*SHAPE)
    _, found, _ = compiled(name, spec)(weight, second_moment)
    errors = [np.float64(values) - weight for values in (found, nearest(spec)(weight))]
    counted = second_moment + np.diag(unreached * np.trace(second_moment) / np.sum(~unreached))
    own, other = (np.sum(ROUNDINGS[name].measure(error, counted)) for error in errors)
    assert own <= other * (1 + INPUTS * OUTPUTS * 2**-23)
    if ROUNDINGS[name].reads and ROUNDINGS[name].free:
        own, other = (np.max(np.abs(error[:, unreached])) for error in errors)
        assert own <= other + 2 * other  # which is half a step, of the longest


@pytest.mark.parametrize(("name", "spec"), EACH)
def test_weights_that_are_zero_stay(name, spec):
    keep = RANDOM.random(SHAPE) > 0.5
    _, found, _ = compiled(name, spec)(normal(*SHAPE) * keep, moment(64))
    assert not np.any(np.asarray(found)[~keep])


AWKWARD = {
    "zeros": np.zeros(SHAPE),
    "all equal": np.full(SHAPE, 0.3),
    "subnormal": np.full(SHAPE, 1e-40),
    "enormous": 3e38 * np.sign(normal(*SHAPE)),
    "an outlier": np.where(np.arange(INPUTS) == 3, 1e30, normal(*SHAPE)),
}
MOMENTS = {
    "not positive": moment(64) - 3 * np.eye(INPUTS),
    "enormous": moment(64) * 1e30,
    "tiny": moment(64) * 1e-35,
    "zeros": np.zeros((INPUTS, INPUTS)),
}


@pytest.mark.parametrize(("name", "spec"), EACH)
def test_awkward_matrices_get_codes_of_the_format(name, spec):
    cases = [(weight, moment(64)) for weight in AWKWARD.values()]
    cases += [(normal(*SHAPE), second_moment) for second_moment in MOMENTS.values()]
    for weight, second_moment in cases:
        codes, found, _ = compiled(name, spec)(np.float32(weight), np.float32(second_moment))
        assert np.all(np.isfinite(found))
        assert spec.lowest <= np.min(codes)
        assert np.max(codes) <= spec.highest
        # A zero point moves a range by up to half a step.
        assert np.all(np.abs(found) / 2 <= np.max(np.abs(weight)) + 1e-37)


@pytest.mark.parametrize(
    ("name", "spec"),
    [each for each in EACH if (row := ROUNDINGS[str(each.values[0])]).reads and row.free],
)
def test_inputs_that_are_always_zero_get_the_nearest_level(name, spec):
    dead = np.arange(INPUTS) % 5 == 2
    second_moment = np.where(dead[:, None] | dead[None], 0, moment(64))
    _, found, closest = compiled(name, spec)(normal(*SHAPE), np.float32(second_moment))
    np.testing.assert_array_equal(np.asarray(found)[:, dead], np.asarray(closest)[:, dead])


def test_every_rounding_has_a_row():
    functions = {name: getattr(rounding, name) for name in vars(rounding)["__all__"]}
    made = {
        name
        for name, function in functions.items()
        if inspect.isfunction(function)
        and inspect.signature(function).return_annotation is rounding.Rounding
    }
    assert made - {"coded"} - AROUND <= set(ROUNDINGS)
