"""Sites: roles of axes, multiply-adds, rows and outputs, against cases done by hand."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.axes import UNUSED, to_canonical
from jaxcompress.core.matrices import as_matrices
from jaxcompress.quantize.ranges import min_max
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


class Windows(NamedTuple):
    """A convolution, and how its leaf becomes the kernel."""

    data: tuple[int, ...]
    leaf: tuple[int, ...]
    numbers: tuple[str, str, str] = ("NHWC", "HWIO", "NHWC")
    strides: tuple[int, ...] = (1, 1)
    padding: str | list[tuple[int, int]] = "VALID"
    lhs_dilation: tuple[int, ...] = (1, 1)
    rhs_dilation: tuple[int, ...] = (1, 1)
    dtype: Any = jnp.float32
    kernel: Callable = lambda w: w

    def convolved(self, leaf, x):
        return jax.lax.conv_general_dilated(
            x,
            self.kernel(leaf),
            self.strides,
            self.padding,
            lhs_dilation=self.lhs_dilation,
            rhs_dilation=self.rhs_dilation,
            dimension_numbers=self.numbers,
        )


WINDOWS = {
    "padded": Windows((2, 5, 4, 3), (3, 2, 3, 4), padding="SAME"),
    "strides": Windows((2, 6, 5, 3), (3, 2, 3, 4), strides=(2, 3)),
    "strides, padded": Windows((1, 6, 5, 2), (3, 4, 2, 3), strides=(2, 2), padding="SAME"),
    "as in PyTorch": Windows(
        (2, 3, 5, 6),
        (4, 3, 2, 3),
        ("NCHW", "OIHW", "NCHW"),
        padding=[(1, 0), (0, 2)],
        rhs_dilation=(2, 1),
    ),
    "any layout": Windows(
        (3, 5, 2, 4), (2, 4, 3, 3), ("CWNH", "WOIH", "HNWC"), padding=[(2, 1), (0, 1)]
    ),
    "cut off": Windows((1, 6, 5, 2), (2, 2, 2, 3), padding=[(-1, 2), (1, -2)]),
    "dilated data": Windows(
        (1, 3, 4, 2), (3, 2, 2, 3), padding=[(2, 1), (0, -1)], lhs_dilation=(2, 3)
    ),
    "one axis": Windows(
        (2, 9, 3), (3, 3, 4), ("NWC", "WIO", "NWC"), (2,), "SAME", (1,), (2,), jnp.bfloat16
    ),
    "three axes": Windows(
        (2, 3, 4, 3, 2),
        (2, 1, 3, 2, 3),
        ("NDHWC", "DHWIO", "NDHWC"),
        (1, 2, 1),
        [(1, 0), (0, 0), (1, 1)],
        (1, 1, 1),
        (1, 1, 1),
    ),
    "a window of one": Windows((2, 3, 2, 3), (1, 1, 3, 4), strides=(2, 1)),
    "a window that does not fit": Windows((2, 2, 2, 3), (3, 3, 3, 4)),
    "moved": Windows((2, 4, 4, 3), (4, 3, 2, 2), kernel=lambda w: w.transpose(2, 3, 1, 0)),
    "a matrix": Windows((2, 4, 4, 3), (2 * 2 * 3, 4), kernel=lambda w: w.reshape(2, 2, 3, 4)),
    "features of two axes": Windows(
        (2, 4, 4, 6),
        (4, 3, 2, 2, 2),
        kernel=lambda w: w.transpose(3, 4, 2, 1, 0).reshape(2, 2, 6, 4),
    ),
}


def whole_numbers(seed: int, shape: tuple[int, ...], dtype) -> np.ndarray:
    """Small enough that sums of products are exact."""
    return np.asarray(np.random.default_rng(seed).integers(-4, 5, shape), dtype)


def windows_by_hand(case: Windows, site, x) -> list[list[float]]:
    """Position by position and entry by entry."""
    numbered = np.arange(math.prod(case.leaf)).reshape(case.leaf)
    kernel = case.kernel(numbered)
    output = jax.eval_shape(case.convolved, numbered.astype(x.dtype), x)
    axes = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, case.numbers)
    x = np.transpose(np.asarray(x, np.float64), axes.lhs_spec)
    kernel = np.transpose(kernel, axes.rhs_spec)  # (outputs, features, window…)
    first_output = np.transpose(numbered, site.axes.order).reshape(len(kernel), -1)[0]
    inputs = [np.argwhere(kernel == entry)[0, 1:] for entry in first_output]
    reach = [
        (taps - 1) * d + 1 for taps, d in zip(kernel.shape[2:], case.rhs_dilation, strict=True)
    ]
    padding = case.padding
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[2:], reach, case.strides, padding)
    before = [low for low, _ in padding]

    def entry(example, position, feature, taps):
        at = np.multiply(position, case.strides) + np.multiply(taps, case.rhs_dilation) - before
        at, between = np.divmod(at, case.lhs_dilation)
        if np.any(between) or np.any(at < 0) or np.any(at >= x.shape[2:]):
            return 0.0
        return x[example, feature, *at]

    return [
        [entry(example, position, feature, taps) for feature, *taps in inputs]
        for example in range(len(x))
        for position in np.ndindex(*(output.shape[axis] for axis in axes.out_spec[2:]))
    ]


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_what_the_kernel_meets_copied(name):
    case = WINDOWS[name]
    x = whole_numbers(1, case.data, case.dtype)
    x[(0,) * x.ndim] = np.inf
    site = only_site(case.convolved, whole_numbers(2, case.leaf, case.dtype), x)
    found = jax.jit(site.windows)(x)
    assert found.dtype == case.dtype
    assert np.asarray(found, np.float64).tolist() == windows_by_hand(case, site, x)


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_times_the_matrix_are_the_output(name):
    case = WINDOWS[name]
    leaf, x = whole_numbers(1, case.leaf, np.float32), whole_numbers(2, case.data, np.float32)
    site = only_site(case.convolved, leaf, x)

    @jax.jit
    def both(leaf, x):
        (matrix,) = as_matrices(leaf, site.axes)
        found = jnp.matmul(site.windows(x), matrix.T, precision="highest")
        return found, case.convolved(leaf, x)

    found, output = both(leaf, x)
    axes = jax.lax.conv_dimension_numbers(x.shape, case.kernel(leaf).shape, case.numbers).out_spec
    ordered = np.transpose(output, (axes[0], *axes[2:], axes[1]))
    np.testing.assert_array_equal(found, ordered.reshape(found.shape))
    np.testing.assert_array_equal(site.output(found), output)
    assert site.output_rows == found.shape[:-1]


def test_windows_of_a_dot_are_its_rows_with_inputs_as_the_leaf_has_them():
    x, w = normal(1, 5, 6), normal(2, 2, 3, 4)
    site = only_site(lambda w, x: x @ w.reshape(6, 4), w, x)
    np.testing.assert_array_equal(site.windows(x), site.rows(x))
    site = only_site(lambda w, x: x @ w.transpose(1, 0, 2).reshape(6, 4), w, x)
    ordered = x.reshape(5, 3, 2).transpose(0, 2, 1).reshape(5, 6)
    np.testing.assert_array_equal(site.windows(x), ordered)


def grouped(features: int, batches: int):
    def fn(w, x):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (1,),
            "VALID",
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=features,
            batch_group_count=batches,
        )

    return fn


@pytest.mark.parametrize("groups", [(2, 1), (1, 2)])
def test_outputs_in_groups_share_no_windows(groups):
    x = normal(1, 2, 5, 4)
    site = only_site(grouped(*groups), normal(2, 3, 4 // groups[0], 2), x)
    with pytest.raises(ValueError, match=r"Site.windows: '.' is a conv_general_dilated"):
        site.windows(x)


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


# What lies between the leaf and a dot with X, the leaf's shape, whether order stays.
ORDERS = {
    "merged in another order": (lambda w: w.transpose(1, 0, 2).reshape(6, 4), (2, 3, 4), True),
    "split and moved along": (
        lambda w: w.reshape(2, 3, 4).transpose(2, 0, 1).reshape(4, 6).T,
        (6, 4),
        True,
    ),
    "split and swapped": (
        lambda w: w.reshape(2, 3, 4).transpose(1, 0, 2).reshape(6, 4),
        (6, 4),
        False,
    ),
    "flipped": (lambda w: w[::-1], (6, 4), False),
    "flipped along one entry": (lambda w: w[:, ::-1], (6, 1), True),
    "rolled": (lambda w: jnp.roll(w, 1, 0), (6, 4), False),
    "shifted": (lambda w: jax.lax.pad(w, 0.0, [(-1, 1, 0), (0, 0, 0)]), (6, 4), False),
    "a flip or none": (
        lambda w: jax.lax.cond(jnp.array(True), lambda w: w[::-1], lambda w: w, w),
        (6, 4),
        False,
    ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_entries_of_an_axis_that_change_places_are_noticed(case):
    path, shape, in_order = ORDERS[case]
    site = only_site(lambda w, x: x @ path(w), normal(1, *shape), X)
    assert site.in_order is in_order


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


def test_a_lookup_has_no_rows_and_no_output():
    lookup = only_site(lambda w, ids: w[ids], normal(1, 7, 3), jnp.array([1, 2]))
    with pytest.raises(ValueError, match=r"Site.rows: '.' is a gather"):
        lookup.rows(jnp.array([1, 2]))
    with pytest.raises(ValueError, match=r"Site.output: '.' is a gather whose data are indices"):
        lookup.output(jnp.ones((2, 3)))


def test_two_leaves_of_one_name_raise():
    params = {"a": {"b/c": jnp.ones((6, 2))}, "a/b": {"c": jnp.ones(2)}}
    with pytest.raises(ValueError, match="two leaves are named 'a/b/c'"):
        graph.trace(lambda params, x: x @ params["a"]["b/c"], params, X)


NO_ARRAYS = {
    "a function": (
        {"w": jnp.eye(4), "act": jax.nn.relu},
        X,
        r"params=...\): leaf 'act' is relu of type custom_jvp",
    ),
    "a name": (
        {"w": jnp.eye(4), "kind": {"name": "relu"}},
        X,
        r"leaf 'kind/name' is 'relu' of type str",
    ),
    "an array of names": (
        {"w": jnp.eye(4), "e": np.array(["a"])},
        X,
        r"'e' is <U1\[1\] of type ndarray",
    ),
    "an input": (
        {"w": jnp.eye(4)},
        {"x": X, "file": "a.png"},
        r"leaf '0/file' is 'a.png' of type str",
    ),
}


@pytest.mark.parametrize("case", NO_ARRAYS)
def test_a_leaf_that_is_no_array_is_named(case):
    params, x, message = NO_ARRAYS[case]

    def fn(params, x):
        return jax.tree.leaves(x)[-1] @ params["w"]

    with pytest.raises(TypeError, match=message):
        graph.axes(fn, params, x)
    with pytest.raises(TypeError, match=message.partition("leaf ")[2] or message):
        graph.calibrate(fn, params, [x], min_max())


def test_the_models_own_type_errors_stay():
    with pytest.raises(TypeError, match="unsupported operand"):
        graph.axes(lambda w, x: x @ w + "a", jnp.eye(6), X)
