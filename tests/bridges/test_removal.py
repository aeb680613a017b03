"""Modules after a removal: fields that fit, and the program's numbers or a refusal."""

import fnmatch
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxcompress as jc
from jaxcompress.bridges import linen as linen_bridge
from jaxcompress.bridges import nnx as nnx_bridge
from jaxcompress.core.names import map_named
from jaxcompress.graph.surgery.removal import LeafCut

EPS = float(np.finfo(np.float32).eps)


class Small(NamedTuple):
    """What a removal of the first units of every family gives, without checking it."""

    fn: Any
    params: Any
    removal: jc.graph.Removal


def removed_from(bridge, *inputs, select="*", share=0.5):
    coupled = jc.graph.couplings(bridge.fn, bridge.params, *inputs)
    units = {
        family.name: range(int(share * family.size))
        for family in coupled.families
        if fnmatch.fnmatch(family.name, select)
    }
    removal = coupled.removal(units)
    params = jc.graph.surgery.slice_params(bridge.params, removal)
    return Small(jc.graph.surgery.shrink(bridge.fn, removal), params, removal)


def from_nnx(model, *inputs, **keywords):
    return removed_from(nnx_bridge.functional(model), *inputs, **keywords)


def from_linen(module, *inputs, evaluation=None, **keywords):
    evaluation = evaluation or {}
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **evaluation))
    bridge = linen_bridge.functional(module, filled(shapes), evaluation=evaluation)
    return removed_from(bridge, *inputs, **keywords)


def filled(shapes):
    """Numbers for a tree of shapes; drawn by NumPy, which compiles nothing."""
    generator = np.random.default_rng(0)

    def numbers(name, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        drawn = generator.uniform(-1, 1, leaf.shape)
        return jnp.asarray(abs(drawn) if name.endswith("var") else drawn, leaf.dtype)

    return map_named(numbers, shapes)


def built(factory):
    """The NNX module that the factory makes, with such numbers."""
    graph, shapes = nnx.split(nnx.eval_shape(factory))
    return nnx.merge(graph, filled(shapes))


def rows(report, *hidden):
    """Path and field to the sizes after, without what `hidden` names."""
    return {
        f"{row.path}/{row.field}": row.after for row in report.changed if row.field not in hidden
    }


@pytest.fixture
def images():
    return filled(jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32))


@pytest.fixture
def tokens():
    return filled(jax.ShapeDtypeStruct((2, 5, 16), jnp.float32))


class Residual(nnx.Module):
    """Conv, batch norm, a grouped conv beside the identity, conv."""

    def __init__(self, groups=1):
        rngs = nnx.Rngs(0)
        self.first = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.second = nnx.Conv(8, 8, (3, 3), feature_group_count=groups, rngs=rngs)
        self.last = nnx.Conv(8, 2, (1, 1), rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))
        return self.last(nnx.relu(x + self.second(x)))


class Attention(nnx.Module):
    def __init__(self, **keywords):
        rngs = nnx.Rngs(0)
        self.mix = nnx.MultiHeadAttention(4, 16, decode=False, rngs=rngs, **keywords)
        self.out = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(x + self.mix(x))


class Normed(nnx.Module):
    """A residual width that a layer norm sees."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.into = nnx.Linear(16, 8, rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.out = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(self.norm(self.into(x)))


class Heads(nnx.Module):
    """Attention by hand: the module's own fields are sizes."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.heads, self.size, self.causal = 4, 4, False
        self.weigh, self.value, self.out = (nnx.Linear(16, 16, rngs=rngs) for _ in range(3))

    def __call__(self, x):
        weigh, value = (
            layer(x).reshape(*x.shape[:-1], self.heads, self.size)
            for layer in (self.weigh, self.value)
        )
        mixed = jax.nn.softmax(weigh, axis=1) * value  # (batch, tokens, heads, size)
        return self.out(mixed.reshape(*x.shape[:-1], self.heads * self.size))


def checked(model, removed, *inputs, **keywords):
    """What `shrunk` gives, whose module computes what the program does."""
    small = nnx_bridge.shrunk(model, removed, *inputs, **keywords)
    assert small.difference <= 64 * EPS
    return small


def test_an_mlp_has_the_fields_of_its_arrays(tokens):
    def network():
        rngs = nnx.Rngs(0)
        return nnx.Sequential(nnx.Linear(16, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 2, rngs=rngs))

    model = built(network)
    bridge, score = nnx_bridge.functional(model), jc.structure.importance.magnitude()
    half = jc.structure.amounts.fraction(0.5)
    removed = jc.structure.remove(bridge.fn, bridge.params, score, tokens, cut=half)
    small = checked(model, removed, tokens)
    np.testing.assert_array_equal(small.module(tokens), bridge.fn(removed.params, tokens))
    assert rows(small.sizes) == {"layers/0/out_features": 4, "layers/2/in_features": 4}
    assert small.module.layers[0].out_features == 4
    assert small.module.layers[0].kernel.shape == (16, 4)
    assert model.layers[0].out_features == 8
    assert model.layers[0].kernel.shape == (16, 8)


def test_the_module_trains_on_in_the_models_mode(images):
    model = built(Residual)
    small = nnx_bridge.shrunk(model, from_nnx(model, images), images).module
    assert not small.norm.use_running_average
    small(images)
    assert small.norm.mean.shape == (4,)
    assert (small.norm.mean[...] != 0).all()


@pytest.mark.parametrize(("groups", "kept"), [(1, 1), (2, 1), (8, 4)])
def test_channels_groups_and_batch_norms_shrink(groups, kept, images):
    model = built(lambda: Residual(groups))
    small = checked(model, from_nnx(model, images), images).module
    width = small.first.out_features
    assert small.norm.num_features == small.second.in_features == small.last.in_features == width
    assert small.second.feature_group_count == kept
    assert small.second.kernel_shape == small.second.kernel.shape == (3, 3, width // kept, width)


def test_heads_shrink(tokens):
    model = built(Attention)
    small = checked(model, from_nnx(model, tokens, select="*query/kernel:1"), tokens)
    mix = small.module.mix
    assert (mix.num_heads, mix.head_dim, mix.qkv_features, mix.in_features) == (2, 4, 8, 16)
    assert mix.query.out_features == mix.out.in_features == (2, 4)


def test_layers_of_other_kinds_shrink():
    class Network(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.embed = nnx.Embed(7, 8, rngs=rngs)
            self.einsum = nnx.Einsum("td,dhk->thk", (8, 2, 4), (2, 4), rngs=rngs)
            self.general = nnx.LinearGeneral((2, 4), 6, axis=(-2, -1), rngs=rngs)
            self.cell = nnx.RNN(nnx.GRUCell(6, 4, rngs=rngs))
            self.out = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.einsum(self.embed(x)))
            return self.out(self.cell(nnx.relu(self.general(x))[None]))

    model, x = built(Network), jnp.array([1, 2, 3])
    small = checked(model, from_nnx(model, x), x)
    assert rows(small.sizes) == {
        "embed/features": 4,
        "einsum/kernel_shape": (4, 1, 2),
        "einsum/bias_shape": (1, 2),
        "general/in_features": (1, 2),
        "general/out_features": (3,),
        "cell/cell/in_features": 3,
        "cell/cell/hidden_features": 2,
        "cell/cell/dense_i/in_features": 3,
        "cell/cell/dense_i/out_features": 6,
        "cell/cell/dense_h/in_features": 2,
        "cell/cell/dense_h/out_features": 6,
        "out/in_features": 2,
    }


def test_layers_that_share_a_kernel_all_shrink(tokens):
    class Tied(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.first = nnx.Linear(16, 8, rngs=rngs)
            self.one, self.other = (nnx.Linear(8, 8, rngs=rngs) for _ in range(2))
            self.other.kernel = self.one.kernel
            self.again, self.out = self.one, nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            for layer in (self.first, self.one, self.other, self.again):
                x = nnx.relu(layer(x))
            return self.out(x)

    model = built(Tied)
    small = checked(model, from_nnx(model, tokens), tokens).module
    assert small.other.kernel is small.one.kernel
    assert small.again is small.one
    assert small.other.in_features == small.other.out_features == small.one.in_features == 4


def test_params_that_were_trained_on_are_those_of_the_module(tokens):
    model = built(Attention)
    removed = from_nnx(model, tokens, select="*query/kernel:1")
    trained = removed._replace(params=jax.tree.map(lambda leaf: 2 * leaf, removed.params))
    small = checked(model, trained, tokens).module
    np.testing.assert_array_equal(small.out.kernel[...], 2 * removed.params["out"]["kernel"][...])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_width_under_a_norm_is_the_programs_alone(dtype, tokens):
    model = built(Normed)
    nnx.update(model, jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.state(model)))
    removed = from_nnx(model, tokens.astype(dtype), select="into/*")
    message = r"nnx.shrunk: on this batch the module differs by .*Use the program, removed.fn"
    with pytest.raises(ArithmeticError, match=message):
        nnx_bridge.shrunk(model, removed, tokens.astype(dtype))


def test_the_size_of_a_head_is_the_programs_alone(tokens):
    model = built(Attention)
    removed = from_nnx(model, tokens, select="*kernel:2")
    assert removed.params["mix"]["query"]["kernel"].shape == (16, 4, 2)
    with pytest.raises(ArithmeticError, match=r"1/sqrt of the size of a head"):
        nnx_bridge.shrunk(model, removed, tokens)


def test_fields_of_other_classes_are_left_or_given(tokens):
    model = built(Heads)
    removed = from_nnx(model, tokens, select="*#2")
    message = r"does not run .*\n.*fields that hold sizes: heads = 4, size = 4"
    with pytest.raises(ValueError, match=message):
        nnx_bridge.shrunk(model, removed, tokens)
    with pytest.raises(
        ValueError, match=r"nnx.shrunk\(sizes={'head': 2}\) names no field.*heads = 4"
    ):
        nnx_bridge.shrunk(model, removed, tokens, sizes={"head": 2})
    small = checked(model, removed, tokens, sizes={"size": 2})
    assert (small.module.heads, small.module.size, model.size) == (4, 2, 4)
    assert "Left as they are: heads = 4." in str(small.sizes)
    assert small.sizes.to_json()["left"][0]["field"] == "heads"


def test_a_removal_from_another_module_is_refused(images, tokens):
    removed = from_nnx(built(Attention), tokens, select="*query/kernel:1")
    with pytest.raises(ValueError, match=r"cuts leaf 'mix/"):
        nnx_bridge.shrunk(built(Residual), removed, images)
    model = built(lambda: Attention(use_bias=False))
    removed = from_nnx(model, tokens, select="*query/kernel:1")
    with pytest.raises(ValueError, match=r"leaf 'mix/key/bias' of the module is not in the params"):
        nnx_bridge.shrunk(built(Attention), removed._replace(removal=jc.graph.Removal(())), tokens)


class MLP(linen.Module):
    """`seed` equals a width and is none."""

    features: Any
    seed: int = 16

    @linen.compact
    def __call__(self, x):
        *hidden, last = self.features
        for width in hidden:
            x = linen.relu(linen.Dense(width)(x))
        return linen.Dense(last)(x)


class CNN(linen.Module):
    widths: tuple = (8, 6)
    groups: int = 1

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Conv(self.widths[0], (3, 3))(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train)(x))
        x = linen.Conv(self.widths[0], (3, 3), feature_group_count=self.groups)(x) + x
        x = linen.relu(linen.ConvTranspose(self.widths[1], (2, 2), name="up")(linen.relu(x)))
        return linen.Dense(3)(x.mean((1, 2)))


EVALUATION = {"train": False}


class Mixer(linen.Module):
    heads: int = 4
    width: Any = None
    norm: bool = False

    @linen.compact
    def __call__(self, x):
        x = x + linen.MultiHeadAttention(self.heads, qkv_features=self.width, name="mix")(x)
        x = linen.Dense(8, name="into")(x)
        return linen.Dense(2, name="out")(linen.LayerNorm()(x) if self.norm else linen.relu(x))


def test_the_fields_of_an_mlp_are_listed(tokens):
    module = MLP((16, 8, 16))
    removed = from_linen(module, tokens)
    report = linen_bridge.sizes(module, removed, tokens)
    assert str(report) == (
        "path     layer  field     before  after\n"
        "Dense_0  Dense  features  16      8\n"
        "Dense_1  Dense  features  8       4"
    )
    assert linen_bridge.check_rebuilt(MLP((8, 4, 16)), removed, tokens) <= 64 * EPS
    with pytest.raises(ValueError, match=r"leaf 'Dense_1/bias' has shape \(8,\) in the module and"):
        linen_bridge.check_rebuilt(MLP((8, 8, 16)), removed, tokens)
    with pytest.raises(ValueError, match=r"leaf 'Dense_2/bias' of the params is not in the module"):
        linen_bridge.check_rebuilt(MLP((8, 4)), removed, tokens)


@pytest.mark.parametrize("features", [(16, 8, 16), [16, 8, 16]])
def test_an_mlp_is_built_anew_and_its_seed_kept(features, tokens):
    small = linen_bridge.shrunk(MLP(features), from_linen(MLP(features), tokens), tokens)
    assert small.module == MLP(type(features)((8, 4, 16)))
    assert rows(small.sizes) == {"./features": type(features)((8, 4, 16))}


def test_equal_widths_may_become_different_ones(tokens):
    removed = from_linen(MLP((16, 16, 3)), tokens, select="Dense_0*", share=0.25)
    removed_more = from_linen(MLP((16, 16, 3)), tokens, select="Dense_1*")
    for each, expected in ((removed, (12, 16, 3)), (removed_more, (16, 8, 3))):
        assert linen_bridge.shrunk(MLP((16, 16, 3)), each, tokens).module.features == expected


@pytest.mark.parametrize("groups", [1, 8])
def test_a_cnn_is_listed_and_built_anew(groups, images):
    module = CNN(groups=groups)
    removed = from_linen(module, images, evaluation=EVALUATION)
    report = linen_bridge.sizes(module, removed, images, evaluation=EVALUATION)
    expected = {"Conv_0/features": 4, "Conv_1/features": 4, "up/features": 3}
    grouped = {"Conv_1/feature_group_count": 4} if groups == 8 else {}
    assert rows(report) == expected | grouped
    small = linen_bridge.shrunk(module, removed, images, evaluation=EVALUATION)
    assert small.module == CNN((4, 3), groups=4 if groups == 8 else 1)
    assert small.difference <= 64 * EPS


def test_heads_and_their_width_change_together(tokens):
    module = Mixer(width=16)
    removed = from_linen(module, tokens, select="mix/query/kernel:1")
    report = linen_bridge.sizes(module, removed, tokens)
    assert rows(report) == {"mix/num_heads": 2, "mix/qkv_features": 8}
    assert linen_bridge.shrunk(module, removed, tokens).module == Mixer(2, 8)


def test_a_width_that_was_left_out_is_asked_for(tokens):
    module = Mixer()
    removed = from_linen(module, tokens, select="mix/query/kernel:1")
    report = linen_bridge.sizes(module, removed, tokens)
    assert [(row.before, row.after) for row in report.changed] == [(4, 2), (None, 8)]
    with pytest.raises(ValueError, match=r"Mixer's own fields[^|]*mix .*qkv_features  None +8"):
        linen_bridge.shrunk(module, removed, tokens)
    assert linen_bridge.check_rebuilt(Mixer(2, 8), removed, tokens) <= 64 * EPS
    with pytest.raises(ValueError, match=r"the module's init does not run"):
        linen_bridge.check_rebuilt(Mixer(3, 8), removed, tokens)


def test_a_rebuilt_norm_computes_something_else(tokens):
    class Small(Mixer):
        @linen.compact
        def __call__(self, x):
            x = x + linen.MultiHeadAttention(4, name="mix")(x)
            return linen.Dense(2, name="out")(linen.LayerNorm()(linen.Dense(4, name="into")(x)))

    removed = from_linen(Mixer(norm=True), tokens, select="into*")
    with pytest.raises(ArithmeticError, match=r"linen.check_rebuilt: .* a norm's divisor"):
        linen_bridge.check_rebuilt(Small(), removed, tokens)


def test_layers_inside_lifted_transforms_are_found(tokens):
    class Block(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            return x + linen.Dense(16)(linen.relu(linen.Dense(8)(x))), None

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            stack = linen.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True})
            x, _ = stack(name="stack")(x, jnp.zeros(3))
            x = linen.RNN(linen.GRUCell(6, name="cell"))(x)
            return linen.Dense(2)(linen.relu(linen.remat(linen.Dense)(4, name="remat")(x)))

    removed = from_linen(Network(), tokens)
    report = linen_bridge.sizes(Network(), removed, tokens)
    assert rows(report) == {"stack/Dense_1/features": 4, "cell/features": 3, "remat/features": 2}


def test_fewer_layers_are_a_shorter_scan(tokens):
    class Network(linen.Module):
        layers: int = 3

        @linen.compact
        def __call__(self, x):
            def block(network, x, _):
                return x + jnp.tanh(linen.Dense(16, name="dense")(x)), None

            stacked = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            return linen.scan(block, length=self.layers, **stacked)(self, x, None)[0]

    cut = jc.graph.Removal(
        tuple(LeafCut(f"dense/{leaf}", 0, 3, (1,)) for leaf in ("bias", "kernel"))
    )
    whole = from_linen(Network(), tokens)
    params = jc.graph.surgery.slice_params(whole.params, cut)
    removed = Small(Network(2).apply, params, cut)
    assert linen_bridge.shrunk(Network(), removed, tokens).module == Network(2)
