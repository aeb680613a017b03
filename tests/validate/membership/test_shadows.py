"""Shadow models: one program against separate runs, and files against arrays."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import membership

N, COUNT = 9, 6
KEY = jax.random.key(3)
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = X @ np.arange(4.0, dtype=np.float32)
EXAMPLES = (X, Y)
MEMBERS = membership.halves(COUNT, N, jax.random.key(0))


def fit(examples, weights, key):
    """Ten steps of gradient descent from random weights, in a random order."""
    x, y = examples
    first, second = jax.random.split(key)

    def step(params, key):
        kept = weights * jax.random.bernoulli(key, 0.8, weights.shape)
        grads = jax.grad(lambda p: jnp.sum(kept * (x @ p - y) ** 2))(params)
        return params - 0.02 * grads, None

    start = jax.random.normal(first, (x.shape[1],))
    return {"w": jax.lax.scan(step, start, jax.random.split(second, 10))[0]}


def signal(model, examples):
    x, y = examples
    return -jnp.square(x @ model["w"] - y)


def halved(model):
    return {"w": jnp.round(model["w"] * 2) / 2}


def reading(model):
    """The same, by a function that reads values."""
    return {"w": np.round(np.asarray(model["w"]) * 2) / 2}


@functools.cache
def models():
    """Each model trained by itself."""
    found, alone = [], jax.jit(fit)
    for i, row in enumerate(MEMBERS):
        chosen = np.flatnonzero(row)
        # Of nine examples one half is longer, and the other filled up.
        index = np.resize(chosen, N // 2 + 1)
        weights = (np.arange(len(index)) < len(chosen)).astype(np.float32)
        w = alone((X[index], Y[index]), weights, jax.random.fold_in(KEY, i))["w"]
        found.append(np.asarray(w))
    return found


def alone(compressed=lambda w: w):
    """What each of them says of all examples."""
    return np.stack([-np.square(X @ compressed(w) - Y) for w in models()])


# Sums of nine float32 terms, ten times over.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("chunk", [4, 100])
def test_one_program_gives_what_separate_runs_give(chunk):
    found = membership.shadows(fit, signal, EXAMPLES, MEMBERS, KEY, chunk=chunk)
    np.testing.assert_allclose(found.signals, alone(), **CLOSE)
    assert found.in_turn == ""
    np.testing.assert_array_equal(found.members, MEMBERS)


def test_the_program_is_traced_for_all_models_at_once():
    traces = []

    def counted(examples, weights, key):
        traces.append(examples[0].shape)
        return fit(examples, weights, key)

    membership.shadows(counted, signal, EXAMPLES, MEMBERS, KEY, chunk=2)
    # Once to see whether it can be, and once for the program; half of the rows.
    assert traces == [(5, 4)] * 2


def test_a_compression_is_applied_to_every_shadow():
    asked = membership.versions(signal, {"dense": lambda model: model, "coarse": halved})
    found = membership.shadows(fit, asked, EXAMPLES, MEMBERS, KEY)
    assert found.in_turn == ""
    np.testing.assert_allclose(found.signals[..., 0], alone(), **CLOSE)
    np.testing.assert_allclose(found.signals[..., 1], alone(lambda w: np.round(w * 2) / 2), **CLOSE)


def test_what_reads_values_runs_in_turn_and_gives_the_same():
    asked = membership.versions(signal, {"coarse": reading})
    found = membership.shadows(fit, asked, EXAMPLES, MEMBERS, KEY)
    assert "traced" in found.in_turn or "Tracer" in found.in_turn
    np.testing.assert_allclose(found.signals[..., 0], alone(lambda w: np.round(w * 2) / 2), **CLOSE)


def test_a_fit_that_reads_values_runs_in_turn():
    def eager(examples, weights, key):
        if float(weights.sum()) < 4:
            raise AssertionError
        return jitted(examples, weights, key)

    jitted = jax.jit(fit)
    found = membership.shadows(eager, signal, EXAMPLES, MEMBERS, KEY)
    assert found.in_turn
    np.testing.assert_allclose(found.signals, alone(), **CLOSE)


def test_halves_come_in_complements():
    members = membership.halves(6, 9, jax.random.key(1))
    np.testing.assert_array_equal(members[::2], ~members[1::2])
    assert set(members.sum(0)) == {3}
    assert not np.array_equal(members[0], members[2])
    np.testing.assert_array_equal(members, membership.halves(6, 9, jax.random.key(1)))


def recorded():
    signals = np.random.default_rng(0).normal(size=(COUNT, N, 2)).astype(np.float32)
    return membership.Shadows(signals, MEMBERS, "because")


def test_files_hold_every_bit(tmp_path):
    found = recorded()
    found.save(tmp_path / "shadows.npz")
    for again in (
        membership.Shadows.load(tmp_path / "shadows.npz"),
        membership.Shadows.from_json(found.to_json()),
    ):
        for field in dataclasses.fields(found):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(found, field.name))


def test_parts_of_a_record():
    found = recorded()
    assert found.models([0, 2]).members.shape == (2, N)
    assert found.examples(np.arange(N) < 4).signals.shape == (COUNT, 4, 2)
    np.testing.assert_array_equal(
        found.with_signals(lambda signals: signals[..., 1]).signals, found.signals[..., 1]
    )
    padded = membership.Shadows(found.signals, MEMBERS & (np.arange(N) != 2))
    np.testing.assert_array_equal(padded.varying, np.arange(N) != 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: membership.shadows(fit, signal, (X, Y[:3]), MEMBERS, KEY),
            r"shadows\(examples, members of 9 columns\): .* they have \[3, 9\]",
        ),
        (
            lambda: membership.shadows(fit, signal, EXAMPLES, MEMBERS & (X[:, 0] > 9), KEY),
            r"shadows\(members\): row 0 has no example to train on",
        ),
        (
            lambda: membership.shadows(fit, lambda model, e: e[1].sum(), EXAMPLES, MEMBERS, KEY),
            r"shadows\(signal=...\) gives .* it must be floating, of shape \(9,\) or \(9, k\)",
        ),
        (
            lambda: membership.shadows(fit, lambda model, e: e[1] / 0 * 0, EXAMPLES, MEMBERS, KEY),
            r"Shadows\(signals\): 54 of 54 values are not finite",
        ),
        (
            lambda: membership.shadows(fit, signal, (X, Y.astype(int) + 2**32), MEMBERS, KEY),
            r"shadows\(examples=...\) holds 429496729\d, which JAX would wrap",
        ),
        (lambda: membership.halves(3, 8, KEY), r"halves\(count=3\) must be even"),
        (
            lambda: membership.Shadows(np.ones((2, 3)), np.ones((2, 4), bool)),
            r"Shadows\(signals \(2, 3\), members \(2, 4\)\) needs",
        ),
    ],
)
def test_what_cannot_be_trained_or_kept_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_model_in_place_of_a_signal_is_refused_by_name():
    def predicted(model, x):
        return x @ model["w"]

    with pytest.raises(TypeError, match=r"^shadows\(signal=predicted\) takes the inputs .* It is "):
        membership.shadows(fit, predicted, EXAMPLES, MEMBERS, KEY)


QUERIES = [lambda key, x: x, lambda key, x: -x, lambda key, x: x + jax.random.normal(key, x.shape)]


def test_queries_are_asked_one_by_one():
    model, key = {"w": jnp.arange(4.0)}, jax.random.key(1)
    keys = jax.random.split(key, 3)
    expected = [signal(model, (q(k, X), Y)) for q, k in zip(QUERIES, keys, strict=True)]
    found = membership.augmented(signal, QUERIES, key)(model, EXAMPLES)
    np.testing.assert_allclose(found, np.stack(expected, -1), rtol=1e-6)
    found = membership.averaged(signal, QUERIES, key)(model, EXAMPLES)
    np.testing.assert_allclose(found, np.mean(expected, 0), rtol=1e-6)


def test_noise_distance_grows_with_the_distance_to_the_boundary():
    def right(model, examples):
        return (examples[0][:, 0] > 0).astype(jnp.float32)

    x = jnp.array([[-0.1], [0.1], [0.5], [2.0], [50.0]])
    signal = membership.noise_distance(right, (0.5, 1.0, 2.0), jax.random.key(0), draws=400)
    found = np.asarray(jax.jit(signal)(None, (x,)))
    assert found[0] == 0
    assert np.all(np.diff(found) > 0)
    np.testing.assert_allclose(found[-1], 2.0)
    # By hand: half the draws at scale 1 and more stay right at distance 0.
    share = [1.0, *(0.5 + 0.5 * erf(0.1 / s / 2**0.5) for s in (0.5, 1.0, 2.0))]
    expected = np.trapezoid(share, [0, 0.5, 1.0, 2.0])
    # Of 400 draws a share has a standard deviation of 0.025, over a width of 2.
    assert abs(found[1] - expected) < 3 * 0.025 * 2


def erf(x):
    return float(jax.scipy.special.erf(x))


def test_signals_are_compiled_for_accelerators():
    def asked(model, examples):
        logits = examples[0] @ model
        return membership.scaled_confidence(logits, examples[1])

    signal = membership.noise_distance(
        lambda model, e: membership.correctness(e[0] @ model, e[1]), (0.1, 0.2), KEY
    )
    given = jnp.ones((4, 3)), (jnp.ones((N, 4)), jnp.zeros(N, jnp.int32))
    for each in (asked, signal):
        for platform in ("tpu", "cuda"):
            jax.jit(each).trace(*given).lower(lowering_platforms=(platform,))


def test_labels_that_are_no_classes_are_refused_in_the_program():
    examples = np.zeros((4, 2), np.float32), np.array([1, 2, 1, 2])
    members = np.array([[True, False] * 2, [False, True] * 2])
    with pytest.raises(ValueError, match="not finite"):
        membership.shadows(
            lambda examples, weights, key: jnp.zeros(2),
            lambda model, examples: membership.correctness(examples[0] + model[None], examples[1]),
            examples,
            members,
            jax.random.key(0),
        )
