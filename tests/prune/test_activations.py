"""Wanda: the size of a weight times that of what it meets, by NumPy."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.prune.criteria import wanda


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def model(params, x):
    x = jax.nn.relu(x @ params["in"])
    x, _ = jax.lax.scan(lambda x, kernel: (x @ kernel, None), x, params["layers"])
    y = jnp.einsum("bd,dhk->bhk", x, params["split"])
    return jnp.einsum("bhk,hkd->bd", y, params["join"]) + params["bias"]


PARAMS = {
    "in": random(3, 4, seed=1),
    "layers": random(2, 4, 4, seed=2),
    "split": random(4, 2, 3, seed=3),
    "join": random(2, 3, 5, seed=4),
    "bias": jnp.zeros(()),
}
BATCHES = [random(6, 3, seed=5), (random(6, 3, seed=6),)]


def expected_scores() -> dict:
    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in PARAMS.items()}
    x = np.concatenate([BATCHES[0], BATCHES[1][0]]).astype(np.float64)

    def norms(x):
        return np.sqrt(np.mean(x**2, axis=0))

    scores = {"in": np.abs(leaves["in"]) * norms(x)[:, None]}
    x = np.maximum(x @ leaves["in"], 0)
    layers = []
    for kernel in leaves["layers"]:
        layers.append(np.abs(kernel) * norms(x)[:, None])
        x = x @ kernel
    scores["layers"] = np.stack(layers)
    scores["split"] = np.abs(leaves["split"]) * norms(x)[:, None, None]
    x = np.einsum("bd,dhk->bhk", x, leaves["split"])
    scores["join"] = np.abs(leaves["join"]) * norms(x)[..., None]
    return scores


def test_scores_equal_the_oracle():
    scores = wanda(model, PARAMS, BATCHES).score((), PARAMS)
    for name, expected in expected_scores().items():
        assert scores[name].dtype == jnp.float32
        # Four layers of sums of at most six terms in float32.
        np.testing.assert_allclose(scores[name], expected, rtol=4 * 12 * 2**-22, atol=1e-6)


def convolved(kernel, x, layout="HWIO", groups=1, batch_groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", layout, "NHWC"),
        feature_group_count=groups,
        batch_group_count=batch_groups,
    )


def grouped_layers(kernels, x):
    return jax.lax.scan(lambda x, kernel: (convolved(kernel, x, groups=2), None), x, kernels)[0]


class Convolution(NamedTuple):
    """The shape of a kernel, what it does, and which channel a weight meets."""

    shape: tuple[int, ...]
    fn: Callable
    channel: Callable[[tuple[int, ...]], int]


# The data have 4 channels; w is the index of a weight.
CONVOLUTIONS = {
    "HWIO": Convolution((3, 2, 4, 6), convolved, lambda w: w[2]),
    "OIHW": Convolution((6, 4, 3, 2), lambda k, x: convolved(k, x, "OIHW"), lambda w: w[1]),
    "a window as large as the channels": Convolution(
        (4, 4, 4, 4), lambda k, x: convolved(k.transpose(1, 0, 3, 2), x), lambda w: w[3]
    ),
    "groups": Convolution(
        (3, 3, 2, 6), lambda k, x: convolved(k, x, groups=2), lambda w: w[3] // 3 * 2 + w[2]
    ),
    "groups, OIHW": Convolution(
        (6, 2, 3, 3), lambda k, x: convolved(k, x, "OIHW", 2), lambda w: w[0] // 3 * 2 + w[1]
    ),
    "depthwise": Convolution(
        (3, 3, 1, 8), lambda k, x: convolved(k, x, groups=4), lambda w: w[3] // 2
    ),
    "outputs of two axes": Convolution(
        (3, 3, 2, 2, 3),
        lambda k, x: convolved(k.reshape(3, 3, 2, 6), x, groups=2),
        lambda w: w[3] * 2 + w[2],
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_goes_by_the_channels_of_its_group(name):
    case, x = CONVOLUTIONS[name], random(2, 5, 4, 4, seed=7)
    params = {"kernel": random(*case.shape, seed=8)}
    criterion = wanda(lambda params, x: case.fn(params["kernel"], x), params, [x])
    norms = np.sqrt(np.mean(np.asarray(x, np.float64) ** 2, axis=(0, 1, 2)))
    expected = np.abs(np.asarray(params["kernel"], np.float64))
    for index in np.ndindex(*case.shape):
        expected[index] *= norms[case.channel(index)]
    # A mean of 40 squares, a root and a product in float32.
    np.testing.assert_allclose(criterion.score((), params)["kernel"], expected, rtol=42 * 2**-24)


def test_layers_of_convolutions_are_scored_one_by_one():
    params, x = {"layers": random(2, 3, 3, 2, 4, seed=9)}, random(2, 5, 4, 4, seed=7)
    stacked = wanda(lambda params, x: grouped_layers(params["layers"], x), params, [x])
    score = stacked.score((), params)["layers"]
    for layer, kernel in enumerate(params["layers"]):
        one = {"kernel": kernel}
        alone = wanda(lambda params, x: convolved(params["kernel"], x, groups=2), one, [x])
        # The same sums, perhaps in another order.
        expected = alone.score((), one)["kernel"]
        np.testing.assert_allclose(score[layer], expected, rtol=82 * 2**-24)
        x = convolved(kernel, x, groups=2)


REFUSED = {
    "a lookup": ((4, 2), lambda leaf, x: leaf[jnp.int32(x[0, 0, 0])]),
    "one layer of many": ((2, 3, 3, 4, 4), lambda leaf, x: convolved(leaf[1], x)),
    "experts": (
        (2, 3, 3, 4, 5),
        lambda leaf, x: jax.vmap(convolved)(leaf, jnp.stack([x, x])),
    ),
    "a merged axis": ((3, 3, 24), lambda leaf, x: convolved(leaf.reshape(3, 3, 4, 6), x)),
    "some of the channels": ((3, 3, 8, 4), lambda leaf, x: convolved(leaf[:, :, :4], x)),
    "scanned along its last axis": (
        (3, 3, 4, 4, 3),
        lambda leaf, x: jax.lax.scan(
            lambda x, kernel: (convolved(kernel, x), None), x, jnp.moveaxis(leaf, -1, 0)
        )[0],
    ),
    "groups of examples": ((3, 3, 4, 4), lambda leaf, x: convolved(leaf, x, batch_groups=2)),
    "inputs from last to first": ((4, 3), lambda leaf, x: x @ leaf[::-1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_leaf_of_which_no_site_reads_all_is_refused(name):
    shape, fn = REFUSED[name]
    params = {"leaf": jnp.ones(shape)}
    criterion = wanda(lambda params, x: fn(params["leaf"], x), params, [jnp.ones((2, 5, 4, 4))])
    with pytest.raises(ValueError, match=r"leaf 'leaf' has no scores: .* in no dot or convolution"):
        criterion.score((), params)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match=r"wanda\(batches=\[\]\) holds no batch"):
        wanda(model, PARAMS, [])
