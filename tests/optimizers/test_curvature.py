"""Optimizers that are told more than the gradient: one table, contract, oracles."""

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers
from jaxcompress.optimizers.curvature.adahessian import window
from jaxcompress.optimizers.curvature.conjugate import conjugate_gradients
from jaxcompress.optimizers.curvature.damping import adapted
from tests.optimizers.test_contract import (
    FEATURES,
    LABELS,
    LEAST,
    NARROW,
    ROUNDING,
    SIZES,
    START,
    is_matrix,
    losses,
    random_params,
)

KEY = np.array([0, 7], np.uint32)


def a_key():
    return jax.random.wrap_key_data(jnp.asarray(KEY))


class Problem(NamedTuple):
    """A loss as each optimizer wants it: loss(params) = outer(outputs(params))."""

    outputs: Callable
    outer: Callable

    def loss(self, params):
        return self.outer(self.outputs(params))


def diagonal(problem, params, grads):
    return {"diagonal": lambda key: optimizers.hutchinson(problem.loss, params, key)}


def whole(problem, params, grads):
    return {"loss": problem.loss}


def in_two(problem, params, grads):
    return {"outputs": problem.outputs, "loss": problem.outer}


def for_search(problem, params, grads):
    return {"value": problem.loss(params), "grad": grads, "value_fn": problem.loss}


def nothing(problem, params, grads):
    return {}


class Case(NamedTuple):
    """An optimizer, its extra arguments, and what it needs to converge."""

    name: str
    make: Callable
    options: Callable
    extra: Callable
    rate: float | None = 1.0
    steps: int = 40

    def __call__(self, learning_rate):
        return self.make(learning_rate, **self.options())

    def update(self, optimizer, problem, grads, state, params):
        extra = self.extra(problem, params, grads)
        return optimizer.update(grads, state, params, **extra)


def keyed(**options):
    return lambda: {"key": a_key(), **options}


def plain(**options):
    return lambda: options


CASES = [
    Case("adahessian", optimizers.adahessian, keyed(), diagonal, rate=2.0, steps=2000),
    Case("sophia", optimizers.sophia, keyed(weight_decay=0.0), diagonal, rate=0.03, steps=2000),
    Case("newton cg", optimizers.newton_cg, plain(), whole),
    Case("gauss newton", optimizers.gauss_newton, plain(), in_two),
    Case("lbfgs", optimizers.lbfgs, plain(memory=5), for_search, rate=None, steps=100),
    Case("lbfgs with a rate", optimizers.lbfgs, plain(), nothing, rate=0.3, steps=200),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def residuals(params):
    """What the three losses of the contract are made of."""
    x, y = params["rosenbrock"]
    return {
        "quadratic": jnp.sqrt(jnp.array([1.0, 10.0])) * params["quadratic"],
        "rosenbrock": jnp.stack([y - x * x, (1 - x) / 10]),
        "logistic": LABELS.astype(np.float32)
        * jnp.sum(FEATURES * params["logistic"][None], axis=1),
    }


def joined(outputs):
    squares = jnp.sum(outputs["quadratic"] ** 2) / 2 + jnp.sum(outputs["rosenbrock"] ** 2)
    return squares + jnp.mean(jnp.logaddexp(0.0, -outputs["logistic"]))


THREE = Problem(residuals, joined)


@every_case
def test_it_converges(case):
    optimizer = case(case.rate and optax.cosine_decay_schedule(case.rate, case.steps, 0.01))

    @jax.jit
    def train(params):
        def step(carry, _):
            params, opt_state = carry
            grads = jax.grad(THREE.loss)(params)
            updates, opt_state = case.update(optimizer, THREE, grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=case.steps)
        return losses(params), sum(losses(params).values()) - THREE.loss(params)

    start = jax.tree.map(jnp.float32, START, is_leaf=lambda node: isinstance(node, list))
    first, (last, difference) = losses(start), train(start)
    assert abs(difference) < 1e-6
    for name, least in LEAST.items():
        # A thousandth of the way is left.
        assert last[name] - least < 1e-3 * (first[name] - least), name


def bowl(tree):
    """Of any tree of floats, also one with holes."""
    return sum(jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in jax.tree.leaves(tree)) / 2


BOWL = Problem(lambda params: params, bowl)


def run(case, optimizer, params, grads, problem=BOWL):
    """((params, opt_state), params after each step), by one scan."""

    @jax.jit
    def scan(carry, grads):
        def step(carry, grads):
            params, opt_state = carry
            updates, opt_state = case.update(optimizer, problem, grads, opt_state, params)
            assert [leaf.dtype for leaf in jax.tree.leaves(updates)] == [
                leaf.dtype for leaf in jax.tree.leaves(grads)
            ]
            params = optax.apply_updates(params, updates)
            return (params, opt_state), params

        return jax.lax.scan(step, carry, grads)

    params = jax.tree.map(jnp.asarray, params)
    return scan((params, optimizer.init(params)), grads)


@pytest.mark.parametrize("case", CASES[:5], ids=lambda case: case.name)
def test_narrow_dtypes_stay_finite(case):
    """Zero, tiny and large gradients that have nothing to do with the loss."""
    params = {name: jnp.full((2, 2), 0.5, dtype) for name, dtype in NARROW.items()}
    grads = {
        name: np.stack([np.full((2, 2), size, dtype) for size in SIZES])
        for name, dtype in NARROW.items()
    }
    (last, opt_state), history = jax.device_get(run(case, case(1e-3), params, grads))
    floats = [x for x in jax.tree.leaves(opt_state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {leaf.dtype.name for leaf in floats} == {"float32"}
    for leaf in [*floats, *jax.tree.leaves(history)]:
        assert np.all(np.isfinite(leaf.astype(np.float32)) | (leaf.ndim == 0))
    assert {name: leaf.dtype.name for name, leaf in last.items()} == {n: n for n in NARROW}
    for leaf in history.values():
        assert np.all(leaf[:2].astype(np.float32) == 0.5)


STATIC = {"key", "every", "damping", "iterations", "tolerance", "memory"}


def wrapped(case, rate):
    """What optax has around a transformation, each leaving the kernel to it."""
    labels = {"kernel": "ours", "bias": "other"}
    static = tuple(STATIC & inspect.signature(case.make).parameters.keys())
    injected = optax.inject_hyperparams(case.make, static, hyperparam_dtype=jnp.float32)
    return {
        "plain": case(rate),
        "masked": optax.chain(optax.identity(), optax.masked(case(rate), is_matrix)),
        "partition": optax.partition({"ours": case(rate), "other": optax.set_to_zero()}, labels),
        "guarded": optimizers.skip_nonfinite(case(rate)),
        "injected": injected(learning_rate=rate, **case.options()),
    }


@pytest.mark.parametrize("case", CASES[1:3], ids=lambda case: case.name)
def test_optax_goes_around_it(case):
    """On a loss in which kernel and bias have nothing to do with each other."""
    params = jax.tree.map(jnp.asarray, random_params())
    around = wrapped(case, 2.0**-6)

    @jax.jit
    def scan(params):
        def step(carry, _):
            updates, state = {}, {}
            for name, optimizer in around.items():
                tree, before = carry[0][name], carry[1][name]
                grads = jax.grad(bowl)(tree)
                updates[name], state[name] = case.update(optimizer, BOWL, grads, before, tree)
            moved = optax.apply_updates(carry[0], updates)
            return (moved, state), moved

        states = {name: optimizer.init(params) for name, optimizer in around.items()}
        return jax.lax.scan(step, (dict.fromkeys(around, params), states), length=4)[1]

    with jax.numpy_dtype_promotion("standard"):
        histories = scan(params)
    alone = histories.pop("plain")
    for history in histories.values():
        np.testing.assert_allclose(history["kernel"], alone["kernel"], rtol=0, atol=64 * ROUNDING)
    np.testing.assert_array_equal(histories["partition"]["bias"], np.tile(params["bias"], (4, 1)))


@pytest.mark.parametrize("case", CASES[:5], ids=lambda case: case.name)
def test_one_trace_and_a_run_may_be_resumed(case):
    params = jax.tree.map(jnp.asarray, random_params())
    optimizer, traces = case(case.rate and optax.linear_schedule(0.1, 0.0, 6)), []

    @jax.jit
    def step(params, opt_state):
        traces.append(None)
        grads = jax.grad(bowl)(params)
        updates, opt_state = case.update(optimizer, BOWL, grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def numbers(tree):
        return jax.tree.map(
            lambda leaf: (
                jax.random.key_data(leaf)
                if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
                else leaf
            ),
            tree,
        )

    carry, stored = (params, optimizer.init(params)), None
    for count in range(6):
        if count == 2:
            stored = jax.tree.map(jnp.copy, carry)
        carry = step(*carry)
    for _ in range(2, 6):
        stored = step(*stored)
    jax.tree.map(np.testing.assert_array_equal, numbers(stored), numbers(carry))
    assert len(traces) == 1


def test_eight_devices_give_what_one_gives(mesh):
    """All in one program, each on its own copy; explicit axes are the stricter."""
    params = random_params(rows=8)

    @jax.jit
    def two_steps(params):
        trees = {}
        for case in CASES[:-1]:
            optimizer = case(0.25)

            def step(carry, _, case=case, optimizer=optimizer):
                tree, state = carry
                updates, state = case.update(optimizer, BOWL, jax.grad(bowl)(tree), state, tree)
                return (optax.apply_updates(tree, updates), state), None

            carry = params, optimizer.init(params)
            trees[case.name] = jax.lax.scan(step, carry, length=2)[0][0]
        return trees

    alone = two_steps(params)
    devices = mesh(rows=8, axis_type=AxisType.Explicit)
    place = {"kernel": NamedSharding(devices, P("rows")), "bias": NamedSharding(devices, P())}
    with jax.set_mesh(devices):
        shared = two_steps(jax.device_put(params, place))
    for name in alone:
        for leaf in params:
            np.testing.assert_allclose(
                shared[name][leaf], alone[name][leaf], rtol=0, atol=64 * ROUNDING, err_msg=name
            )


@every_case
def test_map_params_finds_the_moments_and_they_lie_like_params(case, mesh):
    optimizer = case(0.1)
    opt_state = optimizer.init(random_params())
    marked = optax.tree.map_params(optimizer, jnp.ones_like, opt_state)
    assert jax.tree.structure(marked) == jax.tree.structure(opt_state)
    devices = mesh(rows=8)
    rows = NamedSharding(devices, P("rows"))
    opt_state = optimizer.init({"kernel": jax.device_put(random_params(rows=8)["kernel"], rows)})
    for leaf in jax.tree.leaves(opt_state):
        assert leaf.shape != (8, 2) or leaf.sharding.is_equivalent_to(rows, 2)


def test_a_hessian_is_multiplied_and_its_diagonal_is_right_in_the_mean():
    """Of w·Mw / 2 + Σw³; each draw has the variance Σ H_ij² over j beside i."""
    half = np.random.default_rng(4).standard_normal((5, 5))
    matrix = (half + half.T).astype(np.float32)
    w = np.arange(5, dtype=np.float32) / 4
    hessian = matrix.astype(np.float64) + np.diag(6.0 * w)
    vector = np.float32([1, -2, 0, 3, 0.5])

    def loss(params):
        joined = jnp.concatenate([params["a"], params["b"]])
        return joined @ matrix @ joined / 2 + jnp.sum(joined**3)

    def split(x):
        return {"a": jnp.asarray(x[:2], jnp.bfloat16), "b": jnp.asarray(x[2:], jnp.float16)}

    product = jax.jit(lambda w, v: optimizers.hessian_vector(loss, w, v))(split(w), split(vector))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(product)} == {"float32"}
    product = np.concatenate(jax.tree.leaves(product))
    np.testing.assert_allclose(product, hessian @ vector, rtol=0, atol=32 * ROUNDING * 20)

    draws = jax.jit(jax.vmap(lambda key: optimizers.hutchinson(loss, split(w), key)))(
        jax.random.split(a_key(), 1000)
    )
    draws = np.concatenate(jax.tree.leaves(draws), axis=1)
    spread = np.sqrt((hessian**2).sum(axis=1) - np.diag(hessian) ** 2)
    assert np.all(np.abs(draws.mean(axis=0) - np.diag(hessian)) < 4 * spread / np.sqrt(1000))


def test_gauss_newton_bartlett_is_right_in_the_mean():
    """For logits x · w it is the mean of x_i² p_j (1 - p_j)."""
    x = np.random.default_rng(5).standard_normal((6, 2)).astype(np.float32)
    w = np.random.default_rng(6).standard_normal((2, 3)).astype(np.float32)
    draws = jax.jit(
        jax.vmap(lambda key: optimizers.gauss_newton_bartlett(lambda w: x @ w, w, key))
    )(jax.random.split(a_key(), 2000))
    chances = np.exp(x @ w) / np.exp(x @ w).sum(axis=1, keepdims=True)
    expected = (x**2).T @ (chances * (1 - chances)) / 6
    error = np.std(draws, axis=0) / np.sqrt(2000)
    assert np.all(np.abs(np.mean(draws, axis=0) - expected) < 4 * error)
    assert np.min(draws) >= 0


def fixed_steps(optimizer, params, grads, diagonals):
    """Updates for gradients and diagonals that are given, by one scan."""

    @jax.jit
    def scan(grads, diagonals):
        def step(state, row):
            grads, diagonal = row
            updates, state = optimizer.update(grads, state, params, diagonal=lambda key: diagonal)
            return state, updates

        return jax.lax.scan(step, optimizer.init(params), (grads, diagonals))[1]

    return scan(grads, diagonals)


SHAPES = {"kernel": (3, 3, 2, 4), "matrix": (4, 3), "bias": (3,)}


def random_rows(seed, steps=25):
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal((steps, *shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }


ZEROS = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}


def test_adahessian_is_that_of_numpy():
    grads, diagonals = random_rows(0), random_rows(1)
    scaled = optimizers.scale_by_adahessian(a_key(), 0.8, 0.95, eps=0.1)
    updates = fixed_steps(scaled, ZEROS, grads, diagonals)
    for name in SHAPES:
        m = v = 0.0
        for t, (g, d) in enumerate(zip(grads[name], diagonals[name], strict=True), 1):
            d = d.astype(np.float64)
            if name == "kernel":
                d = np.broadcast_to(d.mean(axis=(0, 1)), d.shape)
            m, v = 0.8 * m + 0.2 * g.astype(np.float64), 0.95 * v + 0.05 * d**2
            expected = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.95**t)) + 0.1)
            # A few roundings of the largest gradient over the least divisor, 0.1.
            np.testing.assert_allclose(updates[name][t - 1], expected, rtol=0, atol=ROUNDING * 640)


@pytest.mark.parametrize(
    ("output", "slides"), [((3,), (0, 1)), ((0,), (2, 3)), ((2,), (0, 1))], ids=str
)
def test_the_window_of_a_kernel_follows_its_output_axis(output, slides):
    contracting = tuple(axis for axis in range(4) if axis not in output)
    axes = jc.LeafAxes(contracting, output, primitive="conv_general_dilated")
    assert window(axes) == slides
    assert window(jc.LeafAxes(contracting, output, primitive="dot_general")) == ()


def test_adahessian_follows_the_axes():
    kernel = np.random.default_rng(7).standard_normal((4, 2, 3, 3)).astype(np.float32)
    axes = {"kernel": jc.LeafAxes((1, 2, 3), (0,), primitive="conv_general_dilated")}
    scaled = optimizers.scale_by_adahessian(a_key(), eps=0.0, axes=axes)
    params = {"kernel": jnp.zeros((4, 2, 3, 3))}

    @jax.jit
    def first_step(grads):
        return scaled.update(grads, scaled.init(params), diagonal=lambda key: {"kernel": kernel})[0]

    updates = first_step(jax.tree.map(jnp.ones_like, params))
    means = np.abs(kernel.mean(axis=(2, 3), keepdims=True))
    np.testing.assert_allclose(updates["kernel"] * means, 1.0, rtol=64 * ROUNDING)


def test_sophia_is_that_of_numpy_and_looks_only_when_due():
    """Between its looks the diagonal is NaN, which nobody sees."""
    grads, diagonals = random_rows(0), random_rows(1)
    for name in SHAPES:
        diagonals[name][np.arange(25) % 4 != 0] = np.nan
    scaled = optimizers.scale_by_sophia(a_key(), 0.9, 0.8, gamma=2.0, eps=1e-3, every=4)
    updates = fixed_steps(scaled, ZEROS, grads, diagonals)
    clipped = []
    for name in SHAPES:
        m = h = 0.0
        for t, (g, d) in enumerate(zip(grads[name], diagonals[name], strict=True)):
            m = 0.9 * m + 0.1 * g.astype(np.float64)
            h = 0.8 * h + 0.2 * d.astype(np.float64) if t % 4 == 0 else h
            expected = np.clip(m / np.maximum(2.0 * h, 1e-3), -1, 1)
            # A few roundings of m and h, below 4, in a quotient that 1e-3 divides.
            np.testing.assert_allclose(updates[name][t], expected, rtol=0, atol=ROUNDING * 16000)
            clipped.append(np.mean(np.abs(expected) == 1))
    assert 0.1 < np.mean(clipped) < 0.9


def test_sophia_asks_for_the_curvature_only_when_due():
    asked = []

    def ask(key):
        jax.debug.callback(lambda: asked.append(None))
        return jnp.ones(2)

    scaled = optimizers.scale_by_sophia(a_key(), every=3)

    def step(state, _):
        return scaled.update(jnp.ones(2), state, diagonal=ask)[1], None

    jax.block_until_ready(jax.lax.scan(step, scaled.init(jnp.ones(2)), length=7))
    jax.effects_barrier()
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("case", "every_step"),
    [(CASES[0], {}), (CASES[1], {"every": 1})],
    ids=["adahessian", "sophia"],
)
def test_every_estimate_has_a_key_of_its_own(case, every_step):
    optimizer = case.make(1.0, a_key(), **every_step)
    seen = []

    def ask(key):
        jax.debug.callback(lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(key))
        return jnp.ones(1)

    @jax.jit
    def step(state):
        return optimizer.update(jnp.ones(1), state, jnp.ones(1), diagonal=ask)[1]

    state = optimizer.init(jnp.ones(1))
    for _ in range(3):
        state = step(state)
    jax.effects_barrier()
    assert len(set(seen)) == len(seen) == 3


def test_conjugate_gradients_solve_and_stop():
    half = np.random.default_rng(8).standard_normal((6, 6))
    matrix = (half @ half.T + np.eye(6)).astype(np.float32)
    target = np.random.default_rng(9).standard_normal(6).astype(np.float32)
    expected = np.linalg.solve(matrix.astype(np.float64), target)

    def multiply(tree):
        x = matrix @ jnp.concatenate([tree["a"], tree["b"]])
        return {"a": x[:2], "b": x[2:]}

    for size in (1e-25, 1.0, 1e25):
        tree = {"a": jnp.asarray(target[:2] * size), "b": jnp.asarray(target[2:] * size)}
        solved = conjugate_gradients(multiply, tree, iterations=12, tolerance=1e-6)
        solved = np.concatenate(jax.tree.leaves(solved)) / size
        # The residual's share times the condition number.
        bound = 4e-6 * np.linalg.cond(matrix) * np.abs(expected).max()
        np.testing.assert_allclose(solved, expected, rtol=0, atol=bound)
    negative = conjugate_gradients(lambda x: -x, jnp.array([3.0, 4.0]), iterations=5, tolerance=0.0)
    assert negative.tolist() == [3.0, 4.0]
    later = jnp.array([1.0, -1.0])
    found = conjugate_gradients(
        lambda x: later * x, jnp.array([4.0, 1.0]), iterations=5, tolerance=0.0
    )
    # The first direction is the target: its share 17 / 15 is taken, the second is not.
    np.testing.assert_allclose(found, np.array([4.0, 1.0]) * 17 / 15, rtol=8 * ROUNDING)
    assert conjugate_gradients(jnp.negative, jnp.zeros(2), iterations=2, tolerance=0.0).sum() == 0


def newton_in_numpy(w, damping, steps):
    """On the bent valley 100 (y - x²)² + (1 - x)², with the damping's own rule."""
    history = []
    for _ in range(steps):
        x, y = w
        gradient = np.array([-400 * x * (y - x * x) - 2 * (1 - x), 200 * (y - x * x)])
        hessian = np.array([[1200 * x * x - 400 * y + 2, -400 * x], [-400 * x, 200.0]])
        step = np.linalg.solve(hessian + damping * np.eye(2), gradient)
        after = w - step
        value, tried = (100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in (w, after))
        ratio = (value - tried) / (gradient @ step - step @ hessian @ step / 2)
        w = after if tried <= value else w
        damping *= 1.5 if ratio < 0.25 else 2 / 3 if ratio > 0.75 else 1.0
        history.append((*w, damping))
    return np.array(history)


def test_newton_is_that_of_numpy():
    """From a start at which the Hessian is positive, so that nothing is truncated."""

    def loss(w):
        return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2

    optimizer = optimizers.newton_cg(damping=2.0, iterations=4, tolerance=0.0)

    @jax.jit
    def scan(w):
        def step(carry, _):
            w, state = carry
            updates, state = optimizer.update(jax.grad(loss)(w), state, w, loss=loss)
            carry = (w + updates, state)
            return carry, jnp.append(w + updates, optax.tree.get(state, "damping"))

        return jax.lax.scan(step, (w, optimizer.init(w)), length=8)[1]

    start = np.array([-1.2, 1.0])
    # Float32 solves of a system whose condition number is below 3000.
    np.testing.assert_allclose(
        scan(jnp.float32(start)), newton_in_numpy(start, 2.0, 8), rtol=0, atol=3000 * 8 * ROUNDING
    )


def test_gauss_newton_solves_the_normal_equations():
    """Least squares is one step; a softmax gives Jᵀ (diag(p) - p pᵀ) J."""
    random = np.random.default_rng(10)
    inputs = random.standard_normal((7, 3)).astype(np.float32)
    w = random.standard_normal((3, 2)).astype(np.float32)
    labels = np.eye(2, dtype=np.float32)[random.integers(0, 2, 7)]

    def loss(logits):
        return -jnp.sum(jax.nn.log_softmax(logits) * labels)

    def outputs(w):
        return inputs @ w

    optimizer = optimizers.scale_by_gauss_newton(damping=0.5, iterations=12, tolerance=1e-6)
    grads = jax.jit(jax.grad(lambda w: loss(outputs(w))))(w)
    step, _ = jax.jit(
        lambda g, w: optimizer.update(g, optimizer.init(w), w, outputs=outputs, loss=loss)
    )(grads, w)
    logits = inputs.astype(np.float64) @ w
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    matrix = 0.5 * np.eye(6)
    for x, p in zip(inputs, chances, strict=True):
        derivative = np.kron(x[None], np.eye(2))  # of the logits by w, row by row
        matrix += derivative.T @ (np.diag(p) - np.outer(p, p)) @ derivative
    gradient = (inputs.T @ (chances - labels)).reshape(-1)
    expected = np.linalg.solve(matrix, gradient).reshape(3, 2)
    np.testing.assert_allclose(step, expected, rtol=0, atol=1e-5 * np.linalg.cond(matrix))


def test_a_step_that_raises_the_loss_is_not_taken():
    """The model of log cosh far from its least is far too flat."""

    def loss(w):
        return jnp.sum(jnp.logaddexp(w, -w))

    w = jnp.array([3.0])
    optimizer = optimizers.newton_cg(damping=1e-3)
    updates, state = jax.jit(
        lambda w: optimizer.update(jax.grad(loss)(w), optimizer.init(w), w, loss=loss)
    )(w)
    assert updates.tolist() == [0.0]
    assert float(optax.tree.get(state, "damping")) == pytest.approx(1.5e-3)


def test_damping_is_kept_where_the_loss_tells_nothing():
    zero, one = jnp.zeros(()), jnp.ones(())
    assert float(adapted(one, zero, zero, zero)) == 1.0
    assert float(adapted(one, -1e-8 * one, 1e-8 * one, 1e-7 * one)) == 1.0
    assert float(adapted(one, jnp.nan * one, one, zero)) == 1.5
    assert float(adapted(1e12 * one, -one, one, zero)) == pytest.approx(1e12)


def valley(w):
    return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2 + 10 * w[2] ** 2


@functools.partial(jax.jit, static_argnums=(0, 1))
def searched(optimizer, steps):
    """The points of a path with optax's line search, and the gradients there."""

    def step(carry, _):
        w, state = carry
        value, grad = optax.value_and_grad_from_state(valley)(w, state=state)
        updates, state = optimizer.update(grad, state, w, value=value, grad=grad, value_fn=valley)
        return (w + updates, state), (w, grad)

    w = jnp.array([-1.2, 1.0, 0.5])
    return jax.lax.scan(step, (w, optimizer.init(w)), length=steps)[1]


@functools.partial(jax.jit, static_argnums=0)
def directions(scaling, points, grads):
    """What a transformation makes of given gradients at given points."""

    def step(state, met):
        updates, state = scaling.update(met[1], state, met[0])
        return state, updates

    return jax.lax.scan(step, scaling.init(points[0]), (points, grads))[1]


def test_lbfgs_is_that_of_optax():
    """The same sums in the same order, but for how they are compiled."""
    met = searched(optimizers.lbfgs(memory=4), 40)
    ours = directions(optimizers.scale_by_lbfgs(memory=4), *met)
    theirs = directions(optax.scale_by_lbfgs(memory_size=4), *met)
    largest = np.max(np.abs(theirs), axis=1, keepdims=True)
    np.testing.assert_allclose(ours / largest, theirs / largest, rtol=0, atol=8 * ROUNDING)


def test_lbfgs_goes_the_way_of_optax():
    """Operation by operation: a bent valley multiplies what compilers round."""
    with jax.disable_jit():
        ours, _ = searched(optimizers.lbfgs(memory=4), 11)
        theirs, _ = searched(optax.lbfgs(memory_size=4), 11)
    # Roundings of numbers near 1. The valley multiplies them: not of the whole way.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=64 * ROUNDING)
    ours, _ = searched(optimizers.lbfgs(memory=4), 41)
    np.testing.assert_allclose(ours[-1], [1, 1, 0], rtol=0, atol=1e-3)


def test_lbfgs_has_the_inverse_hessian_of_the_formula():
    """Given params and gradients; a pair with s·y <= 0 leaves the matrix alone."""
    random = np.random.default_rng(11)
    half = random.standard_normal((5, 5))
    matrix = half @ half.T + np.eye(5)
    places = random.standard_normal((9, 5))
    places[4] = places[3]
    grads = places @ matrix
    grads[6] = grads[5] - (places[6] - places[5])
    scaled = optimizers.scale_by_lbfgs(memory=3)

    @jax.jit
    def scan(places, grads):
        def step(state, row):
            updates, state = scaled.update(row[1], state, row[0])
            return state, updates

        return jax.lax.scan(step, scaled.init(places[0]), (places, grads))[1]

    updates = scan(jnp.float32(places), jnp.float32(grads))
    pairs, last = [], None
    for place, gradient, update in zip(places, grads, updates, strict=True):
        if last is not None and (place - last[0]) @ (gradient - last[1]) > 1e-9:
            pairs = [*pairs, (place - last[0], gradient - last[1])][-3:]
        inverse = np.eye(5) / max(1.0, np.linalg.norm(gradient))
        if pairs:
            s, y = pairs[-1]
            inverse = np.eye(5) * (s @ y) / (y @ y)
        for s, y in pairs:
            left = np.eye(5) - np.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
        expected = inverse @ gradient
        bound = 64 * ROUNDING * np.linalg.cond(inverse) * np.abs(expected).max()
        np.testing.assert_allclose(update, expected, rtol=0, atol=bound)
        last = place, gradient


def test_the_line_search_passes_on_what_the_loss_takes():
    optimizer = optimizers.lbfgs()

    def loss(w, scale):
        return scale * jnp.sum(w**2)

    w = jnp.ones(2, jnp.bfloat16)

    @jax.jit
    def first_step(w):
        value, grad = jax.value_and_grad(loss)(w, 3.0)
        return optimizer.update(
            grad, optimizer.init(w), w, value=value, grad=grad, value_fn=loss, scale=3.0
        )

    updates, state = first_step(w)
    assert updates.dtype == jnp.bfloat16
    assert optax.tree.get(state, "grad").dtype == jnp.float32
    assert float(jnp.sum((w + updates) ** 2)) < 2.0


def told(optimizer, **extra):
    params = jnp.ones((2, 2))
    return lambda: optimizer.update(params, optimizer.init(params), params, **extra)


WRONG = [
    (told(optimizers.adahessian(0.1, KEY)), ValueError, r"^scale_by_adahessian\(...\).*diagonal="),
    (told(optimizers.sophia(0.1, KEY)), ValueError, r"^scale_by_sophia\(...\).*lambda key: hutch"),
    (
        told(optimizers.sophia(0.1, KEY), diagonal=jnp.ones((2, 2))),
        TypeError,
        r"diagonal=...\) got a ArrayImpl, which cannot be called. Pass a function",
    ),
    (
        told(optimizers.sophia(0.1, KEY), diagonal=lambda key: jnp.ones(2)),
        ValueError,
        r"^scale_by_sophia.*leaf '.' of the diagonal has shape \(2,\), its gradient \(2, 2\)",
    ),
    (told(optimizers.newton_cg()), ValueError, r"^scale_by_newton_cg\(...\).* argument loss="),
    (told(optimizers.gauss_newton()), ValueError, r"^scale_by_gauss_newton\(...\).* outputs="),
    (
        told(optimizers.gauss_newton(), outputs=lambda w: w),
        ValueError,
        r"^scale_by_gauss_newton\(...\).* argument loss=",
    ),
    (told(optimizers.lbfgs()), ValueError, r"^lbfgs\(...\).* argument value="),
    (told(optimizers.lbfgs(), value=1.0), ValueError, r"^lbfgs\(...\).* argument grad="),
    (
        told(optimizers.lbfgs(), value=1.0, grad=jnp.ones((2, 2)), value_fn=2),
        TypeError,
        r"value_fn=...\) got a int",
    ),
    *(
        (
            lambda make=make: make().update(jnp.ones(2), make().init(jnp.ones(2))),
            ValueError,
            rf"^scale_by_{make.__name__}\(...\).update\(updates, state, params\) needs the params",
        )
        for make in (optimizers.newton_cg, optimizers.gauss_newton, optimizers.lbfgs)
    ),
    *(
        (
            lambda make=make: make().init(jnp.ones(2, int)),
            TypeError,
            rf"^scale_by_{make.__name__}: leaf '.' has dtype int32",
        )
        for make in (optimizers.newton_cg, optimizers.gauss_newton, optimizers.lbfgs)
    ),
    *(
        (
            lambda make=make: make(0.1, KEY).init(jnp.ones(2, int)),
            TypeError,
            rf"^scale_by_{make.__name__}: leaf '.' has dtype int32",
        )
        for make in (optimizers.adahessian, optimizers.sophia)
    ),
    *(
        (
            lambda make=make, option=option, value=value: make(**{option: value}),
            ValueError,
            rf"^{make.__name__}\({option}={value}\) must be ",
        )
        for make, option, value in [
            (optimizers.newton_cg, "damping", 0.0),
            (optimizers.newton_cg, "learning_rate", -1.0),
            (optimizers.scale_by_newton_cg, "iterations", 0),
            (optimizers.gauss_newton, "tolerance", 1.0),
            (optimizers.scale_by_gauss_newton, "damping", float("nan")),
            (optimizers.lbfgs, "memory", 0),
            (optimizers.scale_by_lbfgs, "memory", 0),
        ]
    ),
    *(
        (
            lambda make=make, option=option, value=value: make(0.1, KEY, **{option: value}),
            ValueError,
            rf"^{make.__name__}\({option}={value}\) must be ",
        )
        for make, option, value in [
            (optimizers.adahessian, "b1", 1.0),
            (optimizers.adahessian, "eps", -1.0),
            (optimizers.adahessian, "weight_decay", -1.0),
            (optimizers.sophia, "b2", -0.1),
            (optimizers.sophia, "gamma", -1.0),
            (optimizers.sophia, "eps", 0.0),
            (optimizers.sophia, "every", 0),
        ]
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[row[2] for row in WRONG])
def test_what_is_wrong_is_said(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
