"""Sites: roles of axes, multiply-adds, rows and outputs, against cases done by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.axes import UNUSED, to_canonical
from tests.graph.zoo import linen_cnn, llama, nested_calls, normal, tied_gpt


def roles(axes):
    return axes.contracting, axes.output, axes.batch


def only_site(fn, params, *inputs):
    (site,) = graph.trace(fn, params, *inputs).sites
    return site


# einsum of (data, weight), their shapes; contracting, output, batch axes of the weight.
EINSUMS = [
    ("bi,io->bo", (5, 3), (3, 4), (0,), (1,), ()),
    ("bi,oi->bo", (5, 3), (4, 3), (1,), (0,), ()),
    ("bti,ihk->bthk", (2, 5, 3), (3, 4, 6), (0,), (1, 2), ()),
    ("bthk,hkd->btd", (2, 5, 4, 6), (4, 6, 3), (0, 1), (2,), ()),
    ("btkh,hkd->btd", (2, 5, 6, 4), (4, 6, 3), (0, 1), (2,), ()),
    ("bti,hik->bhtk", (2, 5, 3), (4, 3, 6), (1,), (0, 2), ()),
    ("ebi,eio->ebo", (4, 5, 3), (4, 3, 6), (1,), (2,), (0,)),
    ("bei,eoi->beo", (5, 4, 3), (4, 6, 3), (2,), (1,), (0,)),
    ("bihg,ghio->bgho", (5, 3, 2, 4), (4, 2, 3, 6), (2,), (3,), (0, 1)),
    ("i,io->o", (3,), (3, 4), (0,), (1,), ()),
    ("bi,i->b", (5, 3), (3,), (0,), (), ()),
]


@pytest.mark.parametrize("weight_first", [False, True])
@pytest.mark.parametrize(
    ("formula", "data_shape", "shape", "contracting", "output", "batch"), EINSUMS
)
def test_a_dot_of_any_layout(formula, data_shape, shape, contracting, output, batch, weight_first):
    x, w = normal(1, *data_shape), normal(2, *shape)
    terms, result = formula.split("->")
    first, second = terms.split(",")

    def fn(w, x):
        if weight_first:
            return jnp.einsum(f"{second},{first}->{result}", w, x)
        return jnp.einsum(formula, x, w)

    site = only_site(fn, w, x)
    assert roles(site.axes) == (contracting, output, batch)
    indices = dict(zip(first + second, data_shape + shape, strict=True))
    assert site.macs == math.prod(indices.values())

    def by_rows(site, apply, data, weight):
        stored = to_canonical(w, site.axes)  # the leaf itself, not the operand
        sizes = stored.shape
        stored = stored.reshape(
            *sizes[: len(batch)], -1, math.prod(sizes[len(sizes) - len(contracting) :])
        )
        return site.output(site.rows(data) @ jnp.swapaxes(stored, -1, -2))

    # At most 24 products per entry, each within one rounding of its own.
    expected = np.einsum(formula, np.float64(x), np.float64(w))
    tolerance = 24 * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(graph.rewrite(fn, by_rows)(w, x), expected, atol=tolerance)


CONVOLUTIONS = [
    # feature groups, HWIO kernel, multiply-adds for a (2, 6, 6, 4) input padded to SAME
    (1, (3, 3, 4, 8), 2 * 6 * 6 * 8 * 9 * 4),
    (2, (3, 3, 2, 8), 2 * 6 * 6 * 8 * 9 * 2),
    (4, (5, 1, 1, 4), 2 * 6 * 6 * 4 * 5),
]


@pytest.mark.parametrize(("groups", "shape", "macs"), CONVOLUTIONS)
def test_a_convolution(groups, shape, macs):
    def fn(w, x):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    x = normal(1, 2, 6, 6, 4)
    site = only_site(fn, normal(2, *shape), x)
    assert roles(site.axes) == ((0, 1, 2), (3,), ())
    assert (site.primitive, site.macs) == ("conv_general_dilated", macs)
    np.testing.assert_array_equal(site.rows(x), x.reshape(-1, 4))


def test_a_convolution_of_another_layout():
    def fn(w, x):
        return jax.lax.conv_general_dilated(
            x, w, (1,), "VALID", dimension_numbers=("NCH", "OIH", "NCH")
        )

    x = normal(1, 2, 4, 6)
    site = only_site(fn, normal(2, 8, 4, 3), x)
    assert roles(site.axes) == ((1, 2), (0,), ())
    np.testing.assert_array_equal(site.rows(x), x.transpose(0, 2, 1).reshape(-1, 4))


def test_a_lookup_shares_along_the_row():
    site = only_site(lambda w, ids: w[ids], normal(1, 7, 3), jnp.array([[1, 2], [0, 5]]))
    assert roles(site.axes) == ((1,), (0,), ())
    assert (site.primitive, site.macs, site.observable) == ("gather", 0, False)


def test_a_tied_table_has_two_sites_and_the_roles_of_the_projection():
    model = tied_gpt()
    sites = graph.trace(model.fn, model.params, *model.inputs).sites
    assert [site.name for site in sites if site.leaf == "embed"] == ["embed", "embed#2"]
    axes = graph.axes(model.fn, model.params, *model.inputs)
    assert axes["embed"].primitive == "dot_general"
    assert roles(axes["embed"]) == ((1,), (0,), ())
    assert axes["positions"] == UNUSED


def test_scanned_leaves_have_a_batch_axis_and_repeats():
    model = llama()
    sites = {site.name: site for site in graph.trace(model.fn, model.params, *model.inputs).sites}
    site = sites["layers/qkv"]
    assert roles(site.axes) == ((1,), (2,), (0,))
    assert roles(site.operand_axes) == ((0,), (1,), ())
    assert (site.repeats, site.stack, site.macs) == (2, (2,), 2 * 10 * 8 * 16)
    assert sites["head"].macs == 10 * 8 * 11


def test_nested_loops():
    model = nested_calls()
    sites = {site.name: site for site in graph.trace(model.fn, model.params, *model.inputs).sites}
    assert roles(sites["stacks"].axes) == ((2,), (3,), (0, 1))
    assert sites["stacks"].stack == (2, 3)
    # Used anew in every turn of the outer scan: repeated, not stacked.
    assert (sites["shared"].repeats, sites["shared"].stack) == (2, ())
    # Picked by the counter of the loop: one slice of the leaf each time.
    assert roles(sites["indexed"].axes) == ((1,), (2,), (0,))


def test_a_flax_convolution_net():
    model = linen_cnn()
    axes = graph.axes(model.fn, model.params, *model.inputs)
    kernels = axes["params"]
    assert roles(kernels["Conv_1"]["kernel"]) == ((0, 1, 2), (3,), ())
    assert roles(kernels["Dense_0"]["kernel"]) == ((0,), (1,), ())
    assert kernels["Conv_0"]["bias"] == UNUSED
    assert axes["batch_stats"]["BatchNorm_0"]["mean"] == UNUSED


X = normal(3, 5, 6)

# What lies between the leaf and a dot with X (rows of 6), the leaf's shape, its roles.
PATHS = {
    "transpose": (lambda w: w.T, (4, 6), ((1,), (0,), ())),
    "cast": (lambda w: w.astype(jnp.bfloat16).astype(jnp.float32), (6, 4), ((0,), (1,), ())),
    "merged axes": (lambda w: w.reshape(6, 12), (6, 4, 3), ((0,), (1, 2), ())),
    "merged contraction": (lambda w: w.reshape(6, 4), (2, 3, 4), ((0, 1), (2,), ())),
    "split output": (lambda w: w.reshape(6, 2, 2), (6, 4), ((0,), (1,), ())),
    "split with two roles": (lambda w: w.reshape(2, 6, 4)[0], (12, 4), ((0,), (1,), ())),
    "indexed": (lambda w: w[1], (3, 6, 4), ((1,), (2,), (0,))),
    "part": (lambda w: w[2:8], (9, 4), ((0,), (1,), ())),
    "part of merged axes": (lambda w: w.reshape(8, 4)[:6], (4, 2, 4), ((0, 1), (2,), ())),
    "padded": (lambda w: jnp.pad(w, ((0, 1), (0, 0))), (5, 4), ((0,), (1,), ())),
    "flipped": (lambda w: w[::-1], (6, 4), ((0,), (1,), ())),
    "size one": (lambda w: w.reshape(6, 4), (1, 1, 6, 4), ((0, 1, 2), (3,), ())),
    "squeezed": (lambda w: jnp.squeeze(w, (0, 1)), (1, 1, 6, 4), ((2,), (3,), (0, 1))),
    "arithmetic": (lambda w: jnp.tanh(w) * 2 / jnp.abs(w).max(), (6, 4), ((0,), (1,), ())),
    "jitted": (jax.jit(lambda w: w.T), (4, 6), ((1,), (0,), ())),
    "barrier": (jax.lax.optimization_barrier, (6, 4), ((0,), (1,), ())),
    "broadcast": (lambda w: jnp.broadcast_to(w[None], (1, 6, 4))[0], (6, 4), ((0,), (1,), ())),
}


@pytest.mark.parametrize("case", PATHS)
def test_a_weight_is_followed(case):
    path, shape, expected = PATHS[case]
    site = only_site(lambda w, x: jnp.tensordot(x, path(w), 1), normal(1, *shape), X)
    assert roles(site.axes) == expected


LOST = {
    "sorted": lambda w: jnp.sort(w, 0),
    "product": lambda w: w @ jnp.ones((4, 4)) @ w.T @ w,
    "summed": lambda w: jnp.cumsum(w, 0) + jnp.zeros((6, 4)),
    "misfit": lambda w: w.reshape(8, 3)[:6],
}


@pytest.mark.parametrize("case", LOST)
def test_a_weight_that_loses_its_axes_is_not_followed_wrongly(case):
    sites = graph.trace(lambda w, x: x @ LOST[case](w), normal(1, 6, 4), X).sites
    assert all(site.data_shape != X.shape for site in sites)


def test_two_weights_that_meet_are_no_site():
    params = {"a": normal(1, 6, 4), "b": normal(2, 4, 6)}
    program = graph.trace(lambda params, x: x @ (params["a"] @ params["b"]), params, X)
    assert program.sites == ()


def test_leaves_side_by_side_are_one_site():
    def fn(params, x):
        return x @ jnp.concatenate([params["gate"], params["up"]], axis=1)

    params = {"gate": normal(1, 6, 4), "up": normal(2, 6, 3)}
    site = only_site(fn, params, X)
    assert [leaf.name for leaf in site.leaves] == ["gate", "up"]
    axes = graph.axes(fn, params, X)
    assert roles(axes["gate"]) == roles(axes["up"]) == ((0,), (1,), ())


def test_the_weight_is_not_its_mask():
    params = {"mask": jnp.ones((6, 4), bool), "w": normal(1, 6, 4), "gain": jnp.ones((1, 4))}

    def fn(params, x):
        return x @ (params["mask"] * params["w"] * params["gain"])

    assert only_site(fn, params, X).leaf == "w"


def test_a_carried_weight_is_followed_only_if_it_stays_itself():
    def same(w, x):
        return jax.lax.fori_loop(0, 2, lambda _, c: (c[0] @ c[1], c[1]), (x, w))[0]

    def changed(w, x):
        return jax.lax.fori_loop(0, 2, lambda _, c: (c[0] @ c[1], c[1] @ c[1]), (x, w))[0]

    square = normal(1, 6, 6)
    assert roles(only_site(same, square, X).axes) == ((0,), (1,), ())
    assert graph.trace(changed, square, X).sites == ()


def test_the_source_names_scope_and_line():
    def fn(w, x):
        with jax.named_scope("head"):
            return x @ w

    source = only_site(fn, normal(1, 6, 4), X).source
    assert source.startswith("head ")
    assert "test_sites.py" in source


def test_a_lookup_has_no_rows_and_a_convolution_no_output():
    lookup = only_site(lambda w, ids: w[ids], normal(1, 7, 3), jnp.array([1, 2]))
    with pytest.raises(ValueError, match=r"Site.rows: '.' is a gather"):
        lookup.rows(jnp.array([1, 2]))
    with pytest.raises(ValueError, match=r"Site.output: '.' is a gather; only a dot"):
        lookup.output(jnp.ones((2, 3)))


def test_two_leaves_of_one_name_raise():
    params = {"a": {"b/c": jnp.ones((6, 2))}, "a/b": {"c": jnp.ones(2)}}
    with pytest.raises(ValueError, match="two leaves are named 'a/b/c'"):
        graph.trace(lambda params, x: x @ params["a"]["b/c"], params, X)
