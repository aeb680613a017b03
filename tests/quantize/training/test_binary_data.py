"""Binary activations: which data become signs, and what scales the outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.quantize import fake_quantize_activations
from jaxcompress.quantize.execution import static
from jaxcompress.quantize.formats import binary
from jaxcompress.quantize.training import binary_activations, binary_weights
from jaxcompress.quantize.training.data import mean_magnitude, unscaled
from tests.inputs import on_device


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


def three(params, x):
    hidden = jnp.tanh(x @ params["first"])
    return jnp.tanh(hidden @ params["middle"]) @ params["last"]


def dense(params, x):
    return x @ params["kernel"]


THREE = {"first": normal(5, 6), "middle": normal(6, 6, seed=1), "last": normal(6, 2, seed=2)}
X = normal(4, 5, seed=3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_signs_are_those_of_fake_quantization_with_its_gradient(dtype):
    params, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (THREE, X))
    technique = binary_activations(three)
    ends = Range(jnp.float32(-1), jnp.float32(1))
    plain = jc.Rules({"[ml]*": static({"middle": ends, "last": ends}, binary(per="tensor"))})
    frozen = technique.freeze(params, jax.ShapeDtypeStruct(x.shape, dtype))
    assert [pattern for pattern, _ in frozen.pairs] == ["middle", "last"]

    @jax.jit
    def found(params, x):
        models = technique.model, *(fake_quantize_activations(three, a) for a in (plain, frozen))

        def loss(params, x, model):
            return jnp.sum(model(params, x).astype(jnp.float32) ** 2)

        return [(fn(params, x), jax.grad(loss, (0, 1))(params, x, fn)) for fn in models]

    (seen, grads), *others = found(params, x)
    assert seen.dtype == dtype
    for shipped, slopes in others:
        np.testing.assert_array_equal(seen, shipped)
        jax.tree.map(np.testing.assert_array_equal, grads, slopes)


def test_values_and_gradient_by_hand():
    model = binary_activations(dense, jc.Rules({"kernel": unscaled()})).model
    eye = {"kernel": jnp.eye(5)}
    x = jnp.asarray([[0.5, 0.0, -0.2, 1.5, -3.0]])
    seen, pull = jax.vjp(lambda x: model(eye, x), x)
    np.testing.assert_array_equal(seen, [[1, -1, -1, 1, -1]])
    np.testing.assert_array_equal(pull(jnp.ones((1, 5)))[0], [[1, 1, 1, 0, 0]])
    assert np.isnan(model(eye, x.at[0, 0].set(jnp.nan))).all()


def conv(window_strides=(1, 1), padding="SAME", groups=1, layout=("NHWC", "HWIO", "NHWC")):
    def fn(params, x):
        return jax.lax.conv_general_dilated(
            x,
            params["kernel"],
            window_strides,
            padding,
            dimension_numbers=layout,
            feature_group_count=groups,
        )

    return fn


def by_windows(fn, params, x):
    """The mean magnitude of every window: a convolution with a box, one for a group."""
    shape = params["kernel"].shape
    box = {"kernel": jnp.full(shape, 1 / np.prod(shape[:-1]), jnp.float32)}
    return fn(box, jnp.abs(x))


IMAGE = normal(2, 5, 5, 4)
CONVOLUTIONS = {
    "same": (conv(), normal(3, 3, 4, 6)),
    "strided": (conv((2, 2), "VALID"), normal(3, 2, 4, 6)),
    "grouped": (conv(groups=2), normal(3, 3, 2, 6)),
    "depthwise": (conv(groups=4), normal(3, 3, 1, 4)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_outputs_of_convolutions_are_scaled_by_the_mean_of_their_windows(case):
    fn, kernel = CONVOLUTIONS[case]
    params = {"kernel": kernel}
    how = jc.Rules({"kernel": mean_magnitude()})
    found = jax.jit(binary_activations(fn, how).model)(params, IMAGE)
    expected = fn(params, jnp.where(IMAGE > 0, 1.0, -1.0)) * by_windows(fn, params, IMAGE)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_outputs_of_dots_are_scaled_by_the_mean_of_their_rows():
    def heads(params, x):
        return jnp.einsum("bsd,dhk->hbks", x, params["kernel"])

    params, x = {"kernel": normal(4, 2, 3)}, normal(2, 5, 4, seed=1)
    found = binary_activations(heads, jc.Rules({"kernel": mean_magnitude()})).model(params, x)
    signs = heads(params, jnp.where(x > 0, 1.0, -1.0))
    scale = np.abs(np.asarray(x)).mean(-1)[None, :, None, :]
    np.testing.assert_allclose(found, signs * scale, rtol=1e-5, atol=1e-6)


def test_with_binary_weights_it_is_xnor_net():
    fn, kernel = CONVOLUTIONS["same"]
    params = {"kernel": kernel}
    view = binary_weights(axes=jc.graph.axes(fn, params, IMAGE))
    shown = view.view(params, view.init(params))
    found = binary_activations(fn, jc.Rules({"kernel": mean_magnitude()})).model(shown, IMAGE)
    w, x = np.asarray(kernel), np.asarray(IMAGE)
    alpha = np.abs(w).mean((0, 1, 2))
    signs = fn({"kernel": jnp.sign(kernel)}, jnp.where(IMAGE > 0, 1.0, -1.0))
    box = np.asarray(by_windows(fn, params, IMAGE))
    np.testing.assert_allclose(found, np.asarray(signs) * box * alpha, rtol=1e-4, atol=1e-5)
    assert x.shape[-1] == 4


def test_devices_scale_their_own_rows(mesh):
    grid = mesh(data=4)
    model = binary_activations(three, mean_magnitude()).model
    mapped = jax.shard_map(three, mesh=grid, in_specs=(P(), P("data")), out_specs=P("data"))
    found = jax.jit(binary_activations(mapped, mean_magnitude()).model)(THREE, X)
    np.testing.assert_allclose(found, jax.jit(model)(THREE, X), rtol=1e-5)


def test_gradients_reach_data_through_the_scale():
    how = jc.Rules({"kernel": mean_magnitude()})
    model = binary_activations(dense, how).model
    x = jnp.asarray([[0.5, -2.0]])
    slope = jax.grad(lambda x: model({"kernel": jnp.asarray([[3.0], [1.0]])}, x).sum())(x)
    # y = K · (3 sign(a) + sign(b)) = 2 K with K = (|a| + |b|) / 2 = 1.25: its slope
    # by a is 2 · 1/2 + 3 K; by b, beyond 1, it is -2 · 1/2.
    np.testing.assert_allclose(slope, [[1 + 3 * 1.25, -1.0]], rtol=1e-6)


def test_first_layers_need_a_rule_of_their_name():
    def seen(how):
        rules = binary_activations(three, how).freeze(THREE, X)
        return [pattern for pattern, _ in rules.pairs]

    assert seen(unscaled()) == ["middle", "last"]
    assert seen(jc.Rules({"first": unscaled(), "*": unscaled()})) == ["first", "middle", "last"]
    assert seen(jc.Rules({"middle": unscaled()})) == ["middle"]
    assert seen(jc.Rules({"*[e]*": unscaled()})) == ["middle"]
    with pytest.raises(ValueError, match=r"rule 'f\*' leaves nothing, since leaves that meet"):
        seen(jc.Rules({"f*": unscaled()}))
    with pytest.raises(ValueError, match=r"rule '\*' leaves nothing.*inputs \(kernel\) stay real"):
        binary_activations(dense).model({"kernel": jnp.eye(2)}, jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="'other' matches nothing"):
        seen(jc.Rules({"other": unscaled()}))


def test_refusals():
    with pytest.raises(ValueError, match="freeze: outputs of middle, last are scaled by data"):
        binary_activations(three, mean_magnitude()).freeze(THREE, X)
    with pytest.raises(TypeError, match=r"how=mean_magnitude\) must be of type SignScale"):
        binary_activations(three, mean_magnitude)
    with pytest.raises(TypeError, match=r"binary_activations\(fn=3\) must be a function"):
        binary_activations(3)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_other_devices(platform):
    fn, kernel = CONVOLUTIONS["grouped"]
    model = binary_activations(fn, jc.Rules({"kernel": mean_magnitude()})).model
    grads = jax.grad(lambda p, x: model(p, x).sum(), (0, 1))
    jax.jit(grads).trace({"kernel": kernel}, IMAGE).lower(lowering_platforms=(platform,))
