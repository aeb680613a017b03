"""Muon, SOAP and Shampoo: which leaves they see as matrices, and the maths on these."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import optimizers
from jaxcompress.core.axes import UNUSED, LeafAxes
from jaxcompress.core.names import named_leaves
from jaxcompress.optimizers.matrix.blocks import as_blocks, blocks_shape, from_blocks
from jaxcompress.optimizers.matrix.eigenbases import eigenbasis, next_basis
from jaxcompress.optimizers.matrix.roots import inverse_root
from jaxcompress.optimizers.memory.codes import is_stored
from tests.optimizers.test_contract import ROUNDING

MAKERS = {
    "muon": optimizers.scale_by_muon,
    "soap": lambda **options: optimizers.scale_by_soap(every=2, **options),
    "shampoo": lambda **options: optimizers.scale_by_shampoo(every=2, block=3, **options),
}
every_maker = pytest.mark.parametrize("maker", MAKERS)

# Of an update near 1: what the contract allows these methods.
CLOSE = {"rtol": 0, "atol": 512 * ROUNDING}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(optimizers_by_name, grads) -> dict:
    """The updates of each optimizer on its own gradients; a leading axis of steps."""

    @jax.jit
    def scan(grads):
        def step(states, grads):
            pairs = {
                name: optimizer.update(grads[name], states[name])
                for name, optimizer in optimizers_by_name.items()
            }
            return tuple({name: pair[i] for name, pair in pairs.items()} for i in (1, 0))

        first = jax.tree.map(lambda leaf: leaf[0], grads)
        states = {name: each.init(first[name]) for name, each in optimizers_by_name.items()}
        return jax.lax.scan(step, states, grads)[1]

    return scan(grads)


LAYOUTS = {
    "out, in": (lambda x: x, LeafAxes((1,), (0,))),
    "in, out": (lambda x: np.moveaxis(x, 1, 2), LeafAxes((0,), (1,))),
    "window": (lambda x: np.moveaxis(x, 1, 2).reshape(-1, 2, 2, 3), LeafAxes((0, 1), (2,))),
    "stack": (lambda x: np.stack([x, -2 * x], axis=2), LeafAxes((2,), (0,), (1,))),
}


@every_maker
def test_a_matrix_is_the_same_in_every_layout(maker):
    """3 outputs of 4 inputs: as it lies, transposed, a convolution, one of two."""
    matrix = random(4, 3, 4)  # (steps, out, in)
    grads = {name: lay(matrix) for name, (lay, _) in LAYOUTS.items()}
    axes = {name: roles for name, (_, roles) in LAYOUTS.items()}
    updates = run({maker: MAKERS[maker](axes=axes)}, {maker: grads})[maker]
    plain = updates["out, in"]
    for name, (lay, _) in LAYOUTS.items():
        # No method's updates follow the size of gradients, all follow the sign.
        expected = np.stack([plain, -plain], axis=2) if name == "stack" else lay(plain)
        np.testing.assert_allclose(updates[name], expected, **CLOSE)


def model(params, tokens):
    """Two tables, two scanned layers, a convolution, a tied and an untied head."""
    x = params["table"][tokens] + params["positions"][jnp.arange(4)]

    def layer(x, block):
        heads = jnp.einsum("td,dhk->thk", x, block["heads"])
        return jnp.einsum("thk,hkd->td", jax.nn.relu(heads), block["out"]) + block["bias"][None], 0

    x = jax.lax.scan(layer, x, params["blocks"])[0]
    x = jax.lax.conv_general_dilated(
        x[None], params["taps"], (1,), "SAME", dimension_numbers=("NTC", "TIO", "NTC")
    )[0]
    x = x * params["scale"][None]
    return x @ params["table"].T + x @ params["head"]


def model_params():
    blocks = {
        "heads": jnp.ones((2, 6, 3, 2)),
        "out": jnp.ones((2, 3, 2, 6)),
        "bias": jnp.ones((2, 6)),
    }
    return {
        "table": jnp.ones((9, 6)),
        "positions": jnp.ones((4, 6)),
        "blocks": blocks,
        "taps": jnp.ones((3, 6, 6)),
        "scale": jnp.ones(6),
        "head": jnp.ones((6, 9)),
    }


def test_the_split_goes_by_what_a_leaf_does():
    params = model_params()

    def started(optimizer):
        return jax.eval_shape(optimizer.init, params)

    axes = jc.graph.axes(model, params, jnp.zeros(4, int))
    body = jc.none_of(jc.matching("head", "table"))
    for axes_, select, expected in [
        (axes, None, {"blocks/heads", "blocks/out", "taps", "table", "head"}),
        (axes, jc.all_of(optimizers.hidden(axes), body), {"blocks/heads", "blocks/out", "taps"}),
        (None, None, {*named_leaves(params)} - {"scale"}),
    ]:
        states = started(optimizers.muon(0.1, select=select, axes=axes_)).inner_states
        assert set(named_leaves(optax.tree.get(states["muon"], "momentum"))) == expected
        others = set(named_leaves(optax.tree.get(states["adam"], "first_moment")))
        assert others == {*named_leaves(params)} - expected
    soap = started(optimizers.scale_by_soap(axes=axes))
    kept = {name.rpartition("/")[0] for name in named_leaves(soap.bases)}
    assert kept == {"blocks/heads", "blocks/out", "taps", "table", "head"}
    assert soap.bases["blocks"]["heads"]["left"].shape == (2, 6, 6)
    assert soap.bases["taps"]["right"].shape == (1, 18, 18)


FALLBACKS = {
    "muon": optimizers.muon,
    "soap": optimizers.soap,
    "shampoo": optimizers.shampoo,
    "galore": lambda _, **options: optimizers.galore(optax.adam(0.1), rank=2, **options),
}


@pytest.mark.parametrize("maker", FALLBACKS)
def test_a_grouped_kernel_is_no_matrix_across_its_groups(maker):
    """Its update is that of a leaf that is left out."""

    def fn(params, x):
        return (
            jax.lax.conv_general_dilated(
                x,
                params["taps"],
                (1,),
                "SAME",
                dimension_numbers=("NWC", "WIO", "NWC"),
                feature_group_count=4,
            )
            @ params["kernel"]
        )

    params = {"taps": jnp.asarray(random(3, 1, 4)), "kernel": jnp.asarray(random(4, 4))}
    axes = jc.graph.axes(fn, params, jnp.ones((1, 5, 4)))
    assert optimizers.hidden(axes)(params) == {"taps": False, "kernel": True}
    found = []
    for select in (None, jc.matching("kernel")):
        optimizer = FALLBACKS[maker](0.1, axes=axes, select=select)
        found.append(optimizer.update(params, optimizer.init(params), params)[0])
    jax.tree.map(np.testing.assert_array_equal, *found)
    with pytest.raises(ValueError, match=r"'taps' .* does not multiply data as a matrix"):
        FALLBACKS[maker](0.1, axes=axes, select=jc.matching("taps")).init(params)


def test_muon_has_two_rates_and_decays_what_meets_data():
    params = {"kernel": jnp.asarray(random(3, 3)), "bias": jnp.asarray(random(3))}
    optimizer = optimizers.muon(
        optax.constant_schedule(0.5), adam_learning_rate=0.25, weight_decay=0.1
    )
    alone = optimizers.scale_by_muon()

    @jax.jit
    def both(params):
        update = optimizer.update(params, optimizer.init(params), params)[0]
        return update, alone.update(params["kernel"], alone.init(params["kernel"]))[0]

    update, orthogonal = both(params)
    np.testing.assert_allclose(
        update["kernel"], -0.5 * (orthogonal + 0.1 * params["kernel"]), **CLOSE
    )
    np.testing.assert_allclose(update["bias"], -0.25 * jnp.sign(params["bias"]), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (1, 6)])
def test_orthogonalised_matrices_are_those_of_optax_and_of_an_svd(shape):
    x = np.stack([random(*shape), 1e-3 * random(*shape, seed=1)])
    optaxs = optax.contrib.scale_by_muon(beta=0.0, eps=1e-8)

    @jax.jit
    def both(x):
        theirs = [optaxs.update(each, optaxs.init(each))[0] for each in x]
        return optimizers.orthogonalized(x, eps=1e-8), theirs

    for each, orthogonal, other in zip(x, *both(x), strict=True):
        np.testing.assert_allclose(orthogonal, other, **CLOSE)
        left, values, right = np.linalg.svd(np.float64(each), full_matrices=False)
        unit = values / np.linalg.norm(values)
        for _ in range(5):
            unit = 3.4445 * unit - 4.7750 * unit**3 + 2.0315 * unit**5
        np.testing.assert_allclose(orthogonal, (left * unit) @ right, **CLOSE)


def test_singular_values_come_near_one():
    """From a 500th of the norm up in [0.68, 1.21], from a hundredth below 1.14."""
    left, _ = np.linalg.qr(random(8, 8))
    values = np.float32([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.015, 0.0025])
    x = jnp.asarray((left * values) @ left.T)[None]
    seen = np.linalg.svd(jax.jit(optimizers.orthogonalized)(x)[0], compute_uv=False)
    assert seen.min() > 0.68
    assert seen.max() < 1.21
    assert np.sort(seen)[-2] < 1.14


def test_zeros_stay_zero_and_short_matrices_short():
    x = np.float32([0.0, 1e-12, 1e30])[:, None, None] * np.ones((1, 2, 3), np.float32)
    zero, short, long = np.asarray(jax.jit(optimizers.orthogonalized)(x))
    assert np.all(zero == 0)
    assert np.abs(short).max() < 0.02
    assert 0.68 < np.linalg.norm(long) < 1.14


def test_scales_follow_the_shape():
    assert optimizers.spectral_scale(16, 4) == 2
    assert optimizers.spectral_scale(4, 16) == 1
    assert optimizers.adam_scale(25, 4) == optimizers.adam_scale(4, 25) == 1
    grads = jnp.asarray(random(16, 64))
    scaled = optimizers.scale_by_muon(scale=optimizers.adam_scale)
    update = jax.jit(lambda grads: scaled.update(grads, scaled.init(grads))[0])(grads)
    # A root mean square of 0.2 times singular values in [0.68, 1.21].
    assert 0.2 * 0.68 < np.sqrt(np.mean(update**2)) < 0.2 * 1.21


def test_soap_is_adam_in_the_bases_of_the_first_gradient():
    """Bases that are never refreshed: Adam on Q_l^T G Q_r from the second step on."""
    grads = random(6, 3, 4)  # (steps, in, out)
    left, _, right = np.linalg.svd(np.float64(grads[0]))
    turned = np.float32(left.T @ grads[1:] @ right.T)
    options = {"b1": 0.9, "b2": 0.99}
    updates = run(
        {
            "soap": optimizers.scale_by_soap(**options, every=1000),
            "adam": optimizers.scale_by_adam(**options),
            "bias": optimizers.scale_by_soap(**options),
            "adam bias": optimizers.scale_by_adam(**options),
        },
        {
            "soap": grads,
            "adam": np.concatenate([turned, turned[:1]]),
            "bias": grads[:, 0],
            "adam bias": grads[:, 0],
        },
    )
    assert np.all(updates["soap"][0] == 0)
    expected = left @ np.float64(updates["adam"][:-1]) @ right
    # The basis is off by roundings times the largest eigenvalue over the gap.
    np.testing.assert_allclose(updates["soap"][1:], expected, **CLOSE)
    np.testing.assert_array_equal(updates["bias"], updates["adam bias"])


def test_rotated_badly_scaled_problems_are_solved_where_adam_is_slow():
    """‖A (W - goal) B‖², condition numbers of A and B 10, in bases of their own."""
    left, right = (
        np.float32((turn * np.logspace(0, -1, len(turn))) @ np.linalg.qr(other)[0])
        for turn, other in [
            (np.linalg.qr(random(8, 8))[0], random(8, 8, seed=1)),
            (np.linalg.qr(random(6, 6))[0], random(6, 6, seed=1)),
        ]
    )
    goal, rate = random(8, 6, seed=2), optax.cosine_decay_schedule(0.3, 400)
    makers = {
        "adam": optimizers.adam,
        "muon": optimizers.muon,
        "soap": lambda rate: optimizers.soap(rate, weight_decay=0.0),
        "shampoo": optimizers.shampoo,
    }

    def loss(weights):
        return jnp.sum((left @ (weights - goal) @ right) ** 2)

    @jax.jit
    def last_loss():
        optimizer = optax.partition(
            {name: make(rate) for name, make in makers.items()}, {name: name for name in makers}
        )
        params = dict.fromkeys(makers, jnp.zeros((8, 6)))

        def step(carry, _):
            params, opt_state = carry
            grads = jax.tree.map(jax.grad(loss), params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        carry = (params, optimizer.init(params))
        return jax.tree.map(loss, jax.lax.scan(step, carry, length=400)[0][0])

    last = last_loss()
    for name in ("muon", "soap", "shampoo"):
        assert last[name] < 1e-2 * last["adam"], name


def test_a_long_side_has_the_identity_as_its_basis():
    params = jnp.ones((3, 5))
    state = optimizers.scale_by_soap(largest_side=4).init(params)
    assert {side: basis.shape for side, basis in state.bases.items()} == {"right": (1, 3, 3)}
    assert optimizers.scale_by_soap(largest_side=2).init(params).bases == {}


def test_shampoo_of_diagonal_gradients_is_adagrad():
    """L and R are sums of squares: L^(-1/4) g R^(-1/4) = g / sqrt(sum)."""
    grads = np.stack([np.diag(row) for row in random(5, 3)])
    adagrad = optimizers.scale_by_adagrad(eps=0.0)
    options = {"retention": 1.0, "every": 1, "graft": adagrad}
    updates = run(
        {"shampoo": optimizers.scale_by_shampoo(0.0, **options), "adagrad": adagrad},
        dict.fromkeys(("shampoo", "adagrad"), grads),
    )
    # The ridge, against the smallest eigenvalue, and the power -1/2 of the two sides.
    smallest = np.abs(np.diagonal(grads[0])).min() / np.abs(grads).sum(0).max()
    bound = 0.5 * 1e-6 / smallest**2 + 512 * ROUNDING
    np.testing.assert_allclose(updates["shampoo"], updates["adagrad"], rtol=bound, atol=1e-7)


@pytest.mark.parametrize(("shape", "largest"), [((2, 5, 3), 2), ((1, 4, 6), 8), ((1, 9, 1), 4)])
def test_blocks_are_cut_and_joined(shape, largest):
    x = jnp.asarray(random(*shape))
    blocks = as_blocks(x, largest)
    assert blocks.shape == blocks_shape(shape, largest)
    assert max(blocks.shape[1:]) <= largest
    np.testing.assert_array_equal(from_blocks(blocks, shape, largest), x)
    if largest >= max(shape[1:]):
        np.testing.assert_array_equal(blocks, x)


def test_inverse_roots_undo_what_they_are_roots_of():
    """Up to rounding times the condition number, which is below 1 / ridge."""
    factors = random(2, 5, 5)
    matrix = np.concatenate([factors @ factors.mT, factors[:, :, :1] @ factors[:, :, :1].mT])
    for power, ridge in [(2, 1e-2), (4, 1e-3)]:
        root = np.float64(jax.jit(inverse_root, static_argnums=1)(matrix, power, ridge))
        largest = np.linalg.eigvalsh(np.float64(matrix))[:, -1:, None]
        product = np.linalg.matrix_power(root, power) @ (matrix + ridge * largest * np.eye(5))
        np.testing.assert_allclose(product, np.stack([np.eye(5)] * 4), atol=16 * ROUNDING / ridge)


def test_inverse_roots_of_zeros_and_of_what_is_not_finite():
    matrix = np.zeros((3, 2, 2), np.float32)
    matrix[1, 0, 0], matrix[2, 1, 1] = np.nan, np.inf
    zero, *others = np.asarray(jax.jit(inverse_root, static_argnums=1)(matrix, 4))
    np.testing.assert_array_equal(zero, np.eye(2))
    assert np.all(np.isnan(others))


def test_bases_stay_orthonormal_and_find_the_eigenvectors():
    column = random(4, 1)
    turn, _ = np.linalg.qr(random(4, 4))
    gaps = (turn * np.float32([64.0, 16.0, 4.0, 1.0])) @ turn.T
    matrix = jnp.asarray(np.stack([np.zeros((4, 4), np.float32), column @ column.T, gaps]))
    basis = jnp.tile(jnp.eye(4), (3, 1, 1))
    basis = jax.lax.fori_loop(0, 20, lambda _, basis: next_basis(matrix, basis), basis)
    for found in (np.asarray(basis), np.asarray(jax.jit(eigenbasis)(matrix))):
        np.testing.assert_allclose(found.mT @ found, np.tile(np.eye(4), (3, 1, 1)), atol=1e-6)
        # Each of 20 iterations leaves a quarter of the next eigenvector.
        np.testing.assert_allclose(np.abs(turn.T @ found[2]), np.eye(4), **CLOSE)


@every_maker
def test_moments_may_be_kept_in_codes(maker):
    params = {"kernel": jnp.ones((64, 64)), "bias": jnp.ones(64)}
    optimizer = MAKERS[maker]() if maker != "muon" else optimizers.muon(0.1)
    state = jax.eval_shape(optimizers.quantize_state(optimizer).init, params)
    stored = [leaf for leaf in jax.tree.leaves(state, is_leaf=is_stored) if is_stored(leaf)]
    assert [leaf.shape for leaf in stored] == [(64, 64)] * {"muon": 1, "soap": 2, "shampoo": 3}[
        maker
    ]


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        (optimizers.scale_by_muon, "steps", 0),
        (optimizers.soap, "every", 0),
        (optimizers.soap, "largest_side", 0),
        (optimizers.shampoo, "block", 0),
        (optimizers.shampoo, "retention", 1.5),
    ],
)
def test_wrong_options_are_refused(make, argument, value):
    rest = {} if make is optimizers.scale_by_muon else {"learning_rate": 0.1}
    with pytest.raises(ValueError, match=rf"^{make.__name__}\({argument}={value}\) must be "):
        make(**rest, **{argument: value})


@every_maker
def test_what_is_no_matrix_is_refused_by_name(maker):
    params = {"bias": jnp.ones(3)}
    everything = {} if maker == "muon" else {"select": jc.everything()}
    message = rf"^scale_by_{maker}: leaf 'bias' of shape \(3,\) does not multiply data"
    with pytest.raises(ValueError, match=message):
        MAKERS[maker](**everything).init(params)
    table = LeafAxes((1,), (0,), primitive="gather")
    for roles in (table, UNUSED):
        with pytest.raises(ValueError, match="does not multiply data"):
            MAKERS[maker](axes={"table": roles}, **everything).init({"table": jnp.ones((3, 2))})
