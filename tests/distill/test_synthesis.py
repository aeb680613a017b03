"""Inputs from batch-norm statistics: the parts in NumPy, and that they come closer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc

synthesis = jc.distill.synthesis
EPS = float(np.finfo(np.float32).eps)
SHAPE = (6, 6, 1)


def conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def norm(x, statistics):
    mean, variance = (statistics[name].reshape(1, 1, 1, -1) for name in ("mean", "var"))
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def network(params, x):
    x = jax.nn.relu(norm(conv(x, params["first"]), params["norm1"]))
    x = jax.nn.relu(norm(conv(x, params["second"]), params["norm2"]))
    return x.mean((1, 2)) @ params["head"]


def trained():
    """A network whose norms keep the statistics of smooth images away from 0."""
    keys = jax.random.split(jax.random.key(0), 4)
    start = {"mean": jnp.zeros(4), "var": jnp.ones(4)}
    params = {
        "first": 0.5 * jax.random.normal(keys[0], (3, 3, 1, 4)),
        "second": 0.5 * jax.random.normal(keys[1], (3, 3, 4, 4)),
        "head": jax.random.normal(keys[2], (4, 3)),
        "norm1": start,
        "norm2": start,
    }
    images = 2 + jnp.cumsum(jax.random.normal(keys[3], (16, *SHAPE)), axis=1) / 2
    for site, name in (("first", "norm1"), ("second", "norm2")):
        value = jc.graph.capture(network, site)(params, images)[1][site]
        statistics = {"mean": value.mean((0, 1, 2)), "var": value.var((0, 1, 2))}
        params = params | {name: statistics}
    return params


PLAN = synthesis.Inversion(SHAPE, steps=60, optimizer=optax.adam(0.1), jitter=1)
LABELS = jnp.array([0, 1, 2, 0])


def of(params):
    return {
        site: (params[name]["mean"], params[name]["var"])
        for site, name in (("first", "norm1"), ("second", "norm2"))
    }


def test_statistics_and_classes_come_closer():
    params = trained()

    def found_with(key):
        return synthesis.synthesize(network, params, of(params), LABELS, key, PLAN)

    found = found_with(jax.random.key(1))
    assert found.inputs.shape == (4, *SHAPE)
    assert found.distances.shape == found.losses.shape == (60,)
    assert found.distances[-1] < found.distances[0] / 4
    logits = network(params, found.inputs)
    own, others = (
        jc.distill.outputs.hard_targets(logits, labels).mean() for labels in (LABELS, LABELS[::-1])
    )
    assert own < others
    np.testing.assert_array_equal(found.inputs, found_with(jax.random.key(1)).inputs)


def test_the_distance_is_that_of_the_formula():
    generator = np.random.default_rng(0)
    values = {name: generator.normal(size=(3, 2, 5)).astype(np.float32) for name in "ab"}
    statistics = {name: tuple(generator.normal(size=(2, 5)).astype(np.float32)) for name in "ab"}
    expected = 0.0
    for name, (mean, variance) in statistics.items():
        flat = values[name].astype(np.float64).reshape(-1, 5)
        expected += np.sqrt(np.sum((flat.mean(0) - mean) ** 2))
        expected += np.sqrt(np.sum((flat.var(0) - variance) ** 2))
    found = synthesis.statistics_distance(values, statistics)
    np.testing.assert_allclose(found, expected, rtol=32 * EPS)


def test_equal_statistics_have_distance_and_gradient_0():
    value = jnp.array([[1.0], [-1.0]])
    statistics = {"a": (jnp.zeros(1), jnp.ones(1))}
    distance = jax.value_and_grad(lambda x: synthesis.statistics_distance({"a": x}, statistics))
    found, gradient = distance(value)
    assert found == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 1)))


def test_the_variation_is_that_of_the_loop():
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype(np.float32)
    expected = np.zeros(2)
    for number, image in enumerate(images.astype(np.float64)):
        down, across = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
        expected[number] = np.mean(down**2) + np.mean(across**2)
    np.testing.assert_allclose(synthesis.total_variation(images), expected, rtol=16 * EPS)
    np.testing.assert_array_equal(synthesis.total_variation(jnp.ones((2, 3))), np.zeros(2))


def scanned(params, x):
    return jax.lax.scan(lambda x, kernel: (x @ kernel, None), x, params["layers"])[0]


PAIR = (jnp.zeros(4), jnp.ones(4))


@pytest.mark.parametrize(
    ("fn", "params", "statistics", "said"),
    [
        (network, None, {"third": PAIR}, "names site 'third'.* Its sites are: first, second, head"),
        (network, None, {"first": (jnp.zeros(3), jnp.ones(3))}, r"site 'first' gives values"),
        (network, None, {}, "holds no site"),
        (scanned, {"layers": jnp.ones((2, 1, 1))}, {"layers": PAIR}, "'layers' lies in a scan"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(fn, params, statistics, said):
    params = trained() if params is None else params
    with pytest.raises(ValueError, match=said):
        synthesis.synthesize(fn, params, statistics, LABELS, jax.random.key(0), PLAN)
