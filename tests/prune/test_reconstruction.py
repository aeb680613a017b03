"""Reconstruction of models: each leaf by hand, on what pruned ones before it give."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.layerwise.turns import sites_of, turns
from jaxcompress.prune import Target, one_shot, reconstruct
from jaxcompress.prune.allocations import erk
from jaxcompress.prune.patterns import n_of_m, within_outputs
from jaxcompress.prune.solvers import sparsegpt
from tests.prune.by_hand import (
    TOLERANCE,
    damped,
    normal,
    rise,
    single,
    sparsegpt_by_hand,
)


def model(params, x):
    x = jnp.tanh(x @ params["in"])
    x, _ = jax.lax.scan(
        lambda x, kernels: (jnp.tanh(x @ kernels["up"]) @ kernels["down"], None),
        x,
        params["layers"],
    )
    return jnp.einsum("bd,dhk->bhk", x, params["out"])


def fresh_params() -> dict:
    """Small enough that tanh bends little, so later inputs do not go together."""
    return {
        "in": single(0.4 * normal(6, 6)),
        "layers": {"up": single(0.4 * normal(2, 6, 6)), "down": single(0.4 * normal(2, 6, 6))},
        "out": single(0.4 * normal(6, 2, 3)),
    }


def reconstructed_by_hand(params, batches, sparsity, correction) -> dict:
    """Every matrix (inputs, outputs) on what the pruned ones before it give."""
    x = np.concatenate(batches).astype(np.float64)
    whole = x

    def pruned(kernel):
        weight = np.asarray(kernel, np.float64).reshape(len(kernel), -1).T
        met = x.T @ x / len(x)
        drift = (whole - x).T @ x / len(x)
        weight = weight + correction * weight @ drift @ np.linalg.inv(damped(met, 0.01))
        weight, _ = sparsegpt_by_hand(weight, met, sparsity)
        return weight.T.reshape(kernel.shape)

    first = pruned(params["in"])
    x, whole = np.tanh(x @ first), np.tanh(whole @ params["in"])
    ups, downs = [], []
    for up, down in zip(params["layers"]["up"], params["layers"]["down"], strict=True):
        ups.append(pruned(up))
        x, whole = np.tanh(x @ ups[-1]), np.tanh(whole @ up)
        downs.append(pruned(down))
        x, whole = x @ downs[-1], whole @ down
    layers = {"up": np.stack(ups), "down": np.stack(downs)}
    return {"in": first, "layers": layers, "out": pruned(params["out"])}


@pytest.mark.parametrize("correction", [0.0, 0.5, 1.0])
def test_each_leaf_and_layer_sees_the_inputs_that_pruned_ones_make(correction):
    params, batches = fresh_params(), [single(normal(30, 6)), single(normal(30, 6))]
    found, report = reconstruct(model, params, batches, sparsegpt(), 0.5, correction=correction)
    expected = reconstructed_by_hand(params, batches, 0.5, correction)
    for leaf, by_hand in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf == 0, by_hand == 0)
        # Damping at 0.01 bounds conditions by 600; six matrices follow one another.
        np.testing.assert_allclose(leaf, by_hand, rtol=0, atol=6 * 600 * 2**-23)
    assert [leaf.action for leaf in report.leaves] == ["50.0 % removed"] * 4
    assert report.title == "reconstruct: 50.0 % of the weights removed"


def convolved(x, kernel, strides=(1, 1), padding="VALID", **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=numbers, **options
    )


def experts(params, x):
    """Two experts in each layer, then a convolution of a 1×1 window."""
    x = jnp.einsum("erd,edk->erk", x, params["experts"])
    return convolved(x[..., None, :], params["conv"])


def test_turns_follow_the_program_through_calls_and_loops():
    @jax.jit
    def layer(x, kernel):
        return jnp.tanh(x @ kernel)

    @jax.jit
    def nested(params, x):
        def outer(x, kernels):
            x = jax.checkpoint(layer)(x, params["shared"])
            return jax.lax.scan(lambda x, kernel: (layer(x, kernel), None), x, kernels)

        x, _ = jax.lax.scan(outer, layer(x, params["first"]), params["stack"])
        x = layer(x, params["a_last"])
        return jax.lax.scan(
            lambda x, kernel: (layer(x, kernel), None), x, params["backwards"], reverse=True
        )[0]

    shapes = {"first": (6, 6), "stack": (2, 2, 6, 6), "shared": (6, 6), "a_last": (6, 6)}
    shapes["backwards"] = (2, 6, 6)
    params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    program = jc.graph.trace(nested, params, jnp.zeros((3, 6)))
    found = dict.fromkeys(turns(program.block, sites_of("test", program, params)))
    stack = [("stack", (i, j)) for i in range(2) for j in range(2)]
    backwards = [("backwards", (1,)), ("backwards", (0,))]
    assert list(found) == [("first", ()), ("shared", ()), *stack, ("a_last", ()), *backwards]


def test_a_stack_along_a_later_axis_is_solved_layer_by_layer():
    params = {"kernels": single(0.4 * normal(2, 2, 6, 6))}  # (experts, layers, …)

    def fn(params, x):
        stack = jnp.moveaxis(params["kernels"], 1, 0)
        return jax.lax.scan(
            lambda x, kernels: (jnp.einsum("erd,edk->erk", x, kernels), None), x, stack
        )[0]

    x = single(normal(2, 30, 6))
    found, _ = reconstruct(fn, params, [x], sparsegpt(), 0.5)
    for expert in range(2):
        met = np.asarray(x[expert], np.float64)
        for layer in range(2):
            kernel = np.asarray(params["kernels"][expert, layer]).T
            weight, _ = sparsegpt_by_hand(kernel, met.T @ met / 30, 0.5)
            np.testing.assert_allclose(found["kernels"][expert, layer], weight.T, **TOLERANCE)
            met = met @ weight.T


def test_arrays_of_an_explicit_mesh_are_solved_whole_and_put_back(mesh):
    params, x = {"kernel": single(normal(6, 4))}, single(normal(20, 6))
    expected, _ = reconstruct(apply_kernel, params, [x], sparsegpt(), 0.5)
    devices = mesh(data=2, model=2, axis_type=AxisType.Explicit)
    spec = PartitionSpec(None, "model")
    with jax.set_mesh(devices):
        params = {"kernel": jax.device_put(params["kernel"], NamedSharding(devices, spec))}
        x = jax.device_put(x, NamedSharding(devices, PartitionSpec("data", None)))
        found, _ = reconstruct(apply_kernel, params, [x], sparsegpt(), 0.5)
    assert found["kernel"].sharding.spec == spec
    np.testing.assert_allclose(found["kernel"], expected["kernel"], **TOLERANCE)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_experts_and_windows_of_one_are_solved_each_by_itself(dtype):
    params = {"experts": normal(2, 6, 6), "conv": normal(1, 1, 6, 6)}
    params = {name: jnp.asarray(leaf, dtype) for name, leaf in params.items()}
    x = jnp.asarray(normal(2, 30, 6), dtype)
    found, _ = reconstruct(experts, params, [x], sparsegpt(), jc.Rules({"*": 0.5}))
    for expert in range(2):
        inputs = np.asarray(x[expert], np.float64)
        second_moment = inputs.T @ inputs / len(inputs)
        kernel = np.asarray(params["experts"][expert], np.float64)
        weight, _ = sparsegpt_by_hand(kernel.T, second_moment, 0.5)
        rounding = 600 * 2**-23 if dtype == jnp.float32 else 2**-8
        np.testing.assert_allclose(
            np.asarray(found["experts"][expert], np.float64), weight.T, rtol=rounding, atol=rounding
        )
    assert found["conv"].dtype == dtype
    assert int(jnp.sum(found["conv"] == 0)) == 18


def test_outputs_change_less_than_without_the_inputs_and_without_making_up():
    weight, x = single(normal(24, 12)), single(normal(96, 24) @ normal(24, 24))
    params, fn = {"kernel": weight}, lambda params, x: x @ params["kernel"]
    axes = jc.graph.axes(fn, params, x)
    wanda = jc.prune.criteria.wanda(fn, params, [x])
    changed = [
        reconstruct(fn, params, [x], sparsegpt(), 0.5)[0],
        one_shot(params, wanda, Target(0.5, within_outputs, axes=axes))[0],
        one_shot(params, jc.prune.criteria.magnitude(), 0.5)[0],
    ]
    second_moment = np.asarray(x.T @ x, np.float64)
    rises = [rise(weight.T, params["kernel"].T, second_moment) for params in changed]
    assert rises[0] < min(rises[1:])


def test_a_leaf_of_two_sites_is_solved_on_the_inputs_of_both():
    params = {"kernel": single(normal(6, 6))}
    x = single(normal(40, 6))
    found, _ = reconstruct(
        lambda params, x: (x[:10] @ params["kernel"], jnp.tanh(x[10:]) @ params["kernel"]),
        params,
        [x],
        sparsegpt(),
        0.5,
    )
    met = np.concatenate([x[:10], jnp.tanh(x[10:])]).astype(np.float64)
    weight, _ = sparsegpt_by_hand(params["kernel"].T, met.T @ met / 40, 0.5)
    np.testing.assert_allclose(found["kernel"], weight.T, **TOLERANCE)


def two_layers(params, x):
    return jnp.tanh(x @ params["first"]) @ params["second"]


def test_a_corrected_leaf_that_loses_nothing_answers_in_least_squares():
    params = {"first": single(normal(6, 6)), "second": single(normal(6, 4))}
    x = single(normal(40, 6))
    found, _ = reconstruct(
        two_layers,
        params,
        [x],
        sparsegpt(),
        jc.Rules({"first": 0.5, "second": 0.0}),
        correction=1.0,
    )
    met = np.tanh(np.asarray(x @ found["first"], np.float64))
    wanted = np.asarray(two_layers(params, x), np.float64) - met @ params["second"]
    change = np.linalg.solve(damped(met.T @ met / 40, 0.01), met.T @ wanted / 40)
    np.testing.assert_allclose(found["second"], params["second"] + change, **TOLERANCE)


def test_a_correction_sees_every_turn_of_a_loop():
    params = {"first": single(0.4 * normal(6, 6)), "shared": single(0.4 * normal(6, 6))}
    x = single(normal(40, 6))

    def fn(params, x):
        x = jnp.tanh(x @ params["first"])
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ params["shared"]), None), x, None, length=3)[
            0
        ]

    found, _ = reconstruct(
        fn, params, [x], sparsegpt(), jc.Rules({"first": 0.5, "shared": 0.0}), correction=1.0
    )
    kernel = np.asarray(params["shared"], np.float64)
    inputs = []
    for first in (params["first"], found["first"]):
        turns = [np.tanh(np.asarray(x, np.float64) @ first)]
        for _ in range(2):
            turns.append(np.tanh(turns[-1] @ kernel))
        inputs.append(np.concatenate(turns))
    whole, met = inputs
    wanted = (whole - met) @ kernel
    change = np.linalg.solve(damped(met.T @ met / 120, 0.01), met.T @ wanted / 120)
    np.testing.assert_allclose(found["shared"], kernel + change, **TOLERANCE)


def test_a_loop_of_unknown_length_cannot_be_corrected():
    def fn(params, x):
        return jax.lax.while_loop(
            lambda state: state[0] < 3,
            lambda state: (state[0] + 1, jnp.tanh(state[1] @ params["kernel"])),
            (0, x),
        )[1]

    with pytest.raises(
        ValueError, match=r"meets leaf 'kernel' another number of times, or .* loop"
    ):
        reconstruct(fn, {"kernel": jnp.eye(6)}, [DATA], sparsegpt(), 0.5, correction=0.5)


REVIVING = {
    "sparsegpt": (sparsegpt(), 0.25),
    "sparsegpt to 2:4": (sparsegpt(pattern=n_of_m(2, 4), block_size=4), 0.5),
    "least squares": (prune.solvers.least_squares(rounds=2), 0.25),
    "surgeon": (prune.solvers.optimal_brain_surgeon(), 0.6),
    "refitted": (prune.solvers.refitted(sparsegpt()), 0.25),
    "alps": (prune.solvers.alps(), 0.25),
}


@pytest.mark.parametrize("name", REVIVING)
@pytest.mark.parametrize("correction", [0.0, 0.5])
def test_weights_that_were_pruned_before_stay_so(name, correction):
    def fn(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"]

    solver, sparsity = REVIVING[name]
    dense = {"in": single(normal(8, 8)), "out": single(normal(8, 8) + 1)}
    pruned, _ = prune.one_shot(dense, prune.criteria.magnitude(), 0.5)
    again, report = reconstruct(
        fn, pruned, [single(normal(20, 8))], solver, sparsity, correction=correction
    )
    for leaf, before in ((again[leaf], pruned[leaf]) for leaf in dense):
        assert not jnp.any((leaf != 0) & (before == 0))
        assert jnp.sum(leaf == 0) >= max(32, round(sparsity * 64))
    assert all(row.action != "kept" for row in report.leaves)


def embedding(params, ids):
    return params["table"][ids] @ params["kernel"]


def apply_kernel(params, x):
    return x @ params["kernel"]


KERNEL = {"kernel": single(normal(6, 4))}
DATA = single(normal(20, 6))
REFUSED = {
    "a pattern": (
        apply_kernel,
        KERNEL,
        [DATA],
        {"target": Target(0.5, n_of_m(2, 4))},
        "reconstruct: Target(pattern=...) has no meaning here. Solvers take a pattern",
    ),
    "an allocation": (
        apply_kernel,
        KERNEL,
        [DATA],
        {"target": Target(0.5, allocate=erk)},
        "reconstruct: Target(allocate=...) has no meaning here",
    ),
    "no batch": (apply_kernel, KERNEL, [], {}, "reconstruct(batches=[]) holds no batch"),
    "sparsity": (apply_kernel, KERNEL, [DATA], {"target": 1.0}, "reconstruct(target=1.0)"),
    "correction": (
        apply_kernel,
        KERNEL,
        [DATA],
        {"correction": 1.5},
        "reconstruct(correction=1.5) must be in [0, 1]",
    ),
    "a table": (
        embedding,
        {"table": jnp.ones((4, 6)), **KERNEL},
        [jnp.arange(4)],
        {"target": Target(0.5, select=jc.everything())},
        "leaf 'table' was asked for by name, but it meets gather",
    ),
    "feature groups": (
        lambda params, x: convolved(x, params["kernel"], feature_group_count=2),
        {"kernel": jnp.ones((3, 3, 2, 4))},
        [jnp.ones((1, 5, 5, 4))],
        {},
        "'kernel': it meets data in a grouped convolution",
    ),
    "batch groups": (
        lambda params, x: convolved(x, params["kernel"], batch_group_count=2),
        {"kernel": jnp.ones((3, 3, 2, 4))},
        [jnp.ones((2, 5, 5, 2))],
        {},
        "'kernel': it meets data in a grouped convolution",
    ),
    "a flipped window": (
        lambda params, x: convolved(x, params["kernel"][::-1]),
        {"kernel": jnp.ones((3, 3, 2, 4))},
        [jnp.ones((1, 5, 5, 2))],
        {},
        "'kernel': it meets data with entries of an axis in another order",
    ),
    "a flipped input": (
        lambda params, x: x @ params["kernel"][::-1],
        KERNEL,
        [DATA],
        {},
        "'kernel': it meets data with entries of an axis in another order",
    ),
    "no site": (
        apply_kernel,
        {**KERNEL, "bias": jnp.ones(4)},
        [DATA],
        {"target": Target(0.5, select=jc.everything())},
        "leaf 'bias' was asked for by name, but it meets no data",
    ),
    "a part": (
        lambda params, x: x @ params["kernel"][0],
        {"kernel": jnp.ones((2, 6, 6))},
        [DATA],
        {},
        "'kernel': it meets dot_general",
    ),
    "a scale for each input": (
        lambda params, x: x @ (params["kernel"] * jnp.arange(1.0, 7.0)[:, None]),
        KERNEL,
        [DATA],
        {},
        "'kernel': it meets data as what arithmetic makes of it",
    ),
    "a square": (
        lambda params, x: x @ jnp.square(2 * params["kernel"]),
        KERNEL,
        [DATA],
        {},
        "'kernel': it meets data as what arithmetic makes of it",
    ),
    "nan": (
        apply_kernel,
        {"kernel": KERNEL["kernel"].at[0, 1].set(jnp.nan)},
        [DATA],
        {},
        "leaf 'kernel' holds 1 values that are not finite, the first at (0, 1)",
    ),
    "data": (apply_kernel, KERNEL, [DATA.at[0, 0].set(jnp.inf)], {}, "products are not finite"),
    "zeros": (apply_kernel, KERNEL, [0 * DATA], {}, "no leaf is left to change. 'kernel': no data"),
    "an expert without data": (
        lambda params, x: jnp.einsum("erd,edk->erk", x, params["experts"]),
        {"experts": jnp.ones((2, 6, 6))},
        [jnp.stack([DATA, 0 * DATA])],
        {},
        "'experts': no data reached 1 of its 2 matrices",
    ),
    "block size": (
        apply_kernel,
        {"kernel": jnp.ones((8, 4))},
        [jnp.ones((3, 8))],
        {"solver": sparsegpt(pattern=n_of_m(2, 4), block_size=6)},
        "'kernel': of 8 inputs a block of 2 does not fit the pattern: 4 does not divide",
    ),
    "a solver of another layout": (
        apply_kernel,
        {"kernel": jnp.ones((6, 4))},
        [DATA],
        {"solver": lambda weight, moment, sparsity: (weight.T, weight.T > 2)},
        "leaf 'kernel' gets a matrix of shape (6, 4) for one of shape (4, 6)",
    ),
    "a solver without masks": (
        apply_kernel,
        {"kernel": jnp.ones((6, 4))},
        [DATA],
        {"solver": lambda weight, moment, sparsity: weight},
        "leaf 'kernel' gets a matrix of shape (6,) for one of shape (4, 6)",
    ),
    "masks that are numbers": (
        apply_kernel,
        KERNEL,
        [DATA],
        {"solver": lambda weight, moment, sparsity: (weight, jnp.ones_like(weight))},
        "leaf 'kernel' gets masks of dtype float32",
    ),
    "weights outside the masks": (
        apply_kernel,
        KERNEL,
        [DATA],
        {"solver": lambda weight, moment, sparsity: (weight + 1, weight > 100)},
        "leaf 'kernel' gets weights outside the masks that are not 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_reconstructed_is_refused(name):
    fn, params, batches, options, message = REFUSED[name]
    options = {"solver": sparsegpt(), "target": 0.5} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        reconstruct(fn, params, batches, options.pop("solver"), **options)


def convnet(params, x):
    """A convolution with strides, a pool, and one whose kernel is stored as OIHW."""
    x = jnp.tanh(convolved(x, params["first"], (2, 2), "SAME"))
    x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "VALID") / 4
    return convolved(x, jnp.transpose(params["second"], (2, 3, 1, 0)))


def patches(x, height, width, stride=1) -> np.ndarray:
    """(examples, positions…, inputs of a window): rows, then columns, then features."""
    rows = range(0, x.shape[1] - height + 1, stride)
    columns = range(0, x.shape[2] - width + 1, stride)
    found = [[x[:, i : i + height, j : j + width] for j in columns] for i in rows]
    found = np.moveaxis(np.array(found), 2, 0)
    return found.reshape(*found.shape[:3], -1)


def solved_by_hand(kernel, met, sparsity) -> np.ndarray:
    """A kernel (…, outputs) on the windows that it meets."""
    weight = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]).T
    rows = met.reshape(-1, weight.shape[1])
    return sparsegpt_by_hand(weight, rows.T @ rows / len(rows), sparsity)[0].T


def convnet_by_hand(params, x, sparsity) -> dict:
    padded = np.pad(np.asarray(x, np.float64), [(0, 0), (0, 1), (0, 1), (0, 0)])
    met = patches(padded, 3, 3, stride=2)
    first = solved_by_hand(params["first"], met, sparsity)
    pooled = patches(np.tanh(met @ first), 2, 2)
    pooled = pooled.reshape(*pooled.shape[:3], 4, -1).mean(axis=3)
    # The matrix has its inputs as the leaf has them: features, then the window.
    met = patches(pooled, 2, 2)
    met = np.moveaxis(met.reshape(*met.shape[:3], 4, -1), 3, 4).reshape(met.shape)
    second = solved_by_hand(jnp.transpose(params["second"], (1, 2, 3, 0)), met, sparsity)
    return {
        "first": first.reshape(params["first"].shape),
        "second": second.T.reshape(params["second"].shape),
    }


def images_and_convnet() -> tuple[jax.Array, dict]:
    params = {"first": single(0.2 * normal(3, 3, 2, 4)), "second": single(normal(3, 4, 2, 2))}
    return single(normal(6, 12, 12, 2)), params


def test_a_convolution_is_solved_on_its_windows():
    x, params = images_and_convnet()
    found, report = reconstruct(convnet, params, [x[:3], x[3:]], sparsegpt(), 0.5)
    expected = convnet_by_hand(params, x, 0.5)
    for name, leaf in found.items():
        np.testing.assert_array_equal(leaf == 0, expected[name] == 0)
        # Damping at 0.01 bounds conditions by 100 · inputs; two matrices.
        np.testing.assert_allclose(leaf, expected[name], rtol=0, atol=2 * 1800 * 2**-23)
    assert [leaf.action for leaf in report.leaves] == ["50.0 % removed"] * 2


def test_outputs_of_convolutions_change_less_than_by_magnitude():
    noise, params = images_and_convnet()
    x = 0.3 * jnp.cumsum(jnp.cumsum(noise, axis=1), axis=2)  # neighbours are alike
    fitted, _ = reconstruct(convnet, params, [x], sparsegpt(), 0.5)
    dropped, _ = one_shot(params, jc.prune.criteria.magnitude(), 0.5)
    expected = convnet(params, x)
    errors = [float(jnp.linalg.norm(convnet(each, x) - expected)) for each in (fitted, dropped)]
    assert errors[0] < errors[1]


def test_a_stack_of_kernels_is_solved_layer_by_layer():
    def fn(params, x):
        stack = jnp.moveaxis(params["kernels"], 3, 0)  # stored as (window…, in, layers, out)
        return jax.lax.scan(
            lambda x, kernel: (jnp.tanh(convolved(x, kernel, padding="SAME")), None), x, stack
        )[0]

    params = {"kernels": single(0.3 * normal(3, 3, 2, 2, 2))}
    x = single(normal(4, 6, 6, 2))
    found, _ = reconstruct(fn, params, [x], sparsegpt(), 0.5)
    for layer in range(2):
        met = patches(np.pad(np.asarray(x, np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 3)
        kernel = solved_by_hand(params["kernels"][..., layer, :], met, 0.5)
        solved = found["kernels"][..., layer, :]
        np.testing.assert_allclose(solved, kernel.reshape(solved.shape), **TOLERANCE)
        x = np.tanh(met @ kernel)


def test_a_factor_that_all_weights_share_changes_nothing():
    def scaled(params, x):
        return x @ (-0.5 * params["kernel"].astype(jnp.float32) / 3)

    found, _ = reconstruct(scaled, KERNEL, [DATA], sparsegpt(), 0.5)
    expected, _ = reconstruct(apply_kernel, KERNEL, [DATA], sparsegpt(), 0.5)
    np.testing.assert_array_equal(found["kernel"], expected["kernel"])


def test_a_table_is_left_out_where_nothing_is_selected():
    params = {"table": single(normal(4, 6)), **KERNEL}
    found, report = reconstruct(embedding, params, [jnp.arange(4)], sparsegpt(), 0.5)
    np.testing.assert_array_equal(found["table"], params["table"])
    assert [leaf.name for leaf in report.kept] == ["table"]
