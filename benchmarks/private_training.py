"""What differential privacy costs in accuracy, and what an attack shows of it.

    python -m benchmarks.private_training [--data DIR] [--seeds 0 1 2]

A perceptron of 64 hidden units on 4,000 digits of MNIST and 1,000 canaries, digits with
a wrong label, each in by a fair coin. Trained without noise and clipping, and with
three amounts of noise, to which dp-accounting gives epsilon at delta 1e-5. From the
loss on the canaries `one_run_audit` bounds epsilon from below, at 95 % confidence: of
each model, of its copy with half of the weights pruned, of its int8 copy, and of the
three together.
"""

import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.lenets import splits
from jaxcompress.core.types import Array, Fit, Key, Params

SEEDS, DELTA = (0, 1, 2), 1e-5
CLEAN, CANARIES, HIDDEN, SPARSITY = 4000, 1000, 64, 0.5
BATCH, RATE, STEPS = 256, 4e-3, 300
PLAIN_RATE, PLAIN_STEPS = 5e-3, 400
NOISE = (0.6, 1.0, 2.0)


def net(params: Params, x: Array) -> Array:
    """Logits: (n, 784) to (n, 10)."""
    return jax.nn.relu(x @ params["hidden"] + params["bias"]) @ params["out"]


def initial(key: Key) -> Params:
    """He's normal weights, a zero bias."""
    he, (hidden, out) = jax.nn.initializers.he_normal(), jax.random.split(key)
    return {
        "hidden": he(hidden, (784, HIDDEN)),
        "bias": jnp.zeros(HIDDEN),
        "out": he(out, (HIDDEN, 10)),
    }


def loss(params: Params, example: tuple[Array, Array]) -> Array:
    """Cross-entropy of one example."""
    x, label = example
    return optax.softmax_cross_entropy_with_integer_labels(net(params, x[None])[0], label)


def private(noise: float) -> tuple[Fit, float]:
    """A training with noise, and the epsilon that it spends."""
    each = jc.train.SubsampledGaussian(
        clip=1.0,
        noise_multiplier=noise,
        batch_size=BATCH,
        population=CLEAN + CANARIES // 2,
        steps=STEPS,
        microbatch=64,
    )
    fit = jc.train.private_fit(loss, initial, optax.adam(RATE), each)
    return fit, jc.validate.privacy.epsilon(noise, each.sampling_probability, STEPS, DELTA)


def plain(examples: tuple[Array, Array], weights: Array, key: Key) -> Params:
    """Adam on all examples at once, without noise or clipping."""
    optimizer = optax.adam(PLAIN_RATE)

    def mean(params: Params) -> Array:
        losses = jax.vmap(loss, in_axes=(None, 0))(params, examples)
        return jnp.sum(weights * losses) / jnp.sum(weights)

    def step(carry: tuple, _: None) -> tuple:
        params, state = carry
        updates, state = optimizer.update(jax.grad(mean)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = initial(key)
    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, None, length=PLAIN_STEPS)[0][0]


def versions(params: Params, x: Array) -> dict[str, Params]:
    """The model and its compressed copies, none of them trained further."""
    axes = jc.graph.axes(net, params, x)
    target = jc.prune.Target(SPARSITY, axes=axes)
    return {
        "dense": params,
        "pruned": jc.prune.one_shot(params, jc.prune.criteria.magnitude(), target)[0],
        "int8": jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)[0],
    }


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """Accuracy, accounted epsilon and lower bounds of the four trainings."""
    rng = np.random.default_rng(seed)
    parts = splits(data, 0)
    train, test = parts.train, parts.test
    chosen = rng.permutation(len(train.labels))[: CLEAN + CANARIES]
    x = jnp.asarray(train.images[chosen].reshape(len(chosen), 784))
    labels = np.asarray(train.labels)[chosen].astype(np.int32)
    labels[CLEAN:] = (labels[CLEAN:] + rng.integers(1, 10, size=CANARIES)) % 10
    members = rng.random(CANARIES) < 0.5
    weights = jnp.asarray(np.concatenate([np.ones(CLEAN), members]), jnp.float32)
    test_x = jnp.asarray(test.images.reshape(len(test.labels), 784))
    figures = {}
    trainings: dict[str, tuple[Fit, float | None]] = {"plain": (plain, None)}
    trainings |= {f"noise {noise:g}": private(noise) for noise in NOISE}
    for training, (fit, spent) in trainings.items():
        trained = jax.jit(fit)((x, jnp.asarray(labels)), weights, jax.random.key(seed))
        params = jax.block_until_ready(trained)
        found: dict[str, Any] = {"epsilon": spent, "accuracy": {}}
        scores = {}
        for name, version in versions(params, x[:8]).items():
            fn = jc.materialized(net)
            right = jc.validate.correct(jax.jit(fn)(version, test_x), test.labels)
            found["accuracy"][name] = float(right.mean())
            logits = jax.jit(fn)(version, x[CLEAN:])
            scores[name] = -np.asarray(jc.validate.cross_entropy(logits, labels[CLEAN:]))
        together = sum(scores.values())
        audit = jc.validate.privacy.versions_audit(
            scores | {"together": together}, members, delta=DELTA
        )
        alone = {
            name: jc.validate.privacy.one_run_audit(values, members, delta=DELTA).to_json()
            for name, values in scores.items()
        }
        figures[training] = found | {"audits": alone, "set": audit.to_json()}
    return figures


def settings() -> dict[str, Any]:
    """All that one run depends on but the seed."""
    return {
        "clean": CLEAN,
        "canaries": CANARIES,
        "hidden": HIDDEN,
        "sparsity": SPARSITY,
        "batch": BATCH,
        "rate": RATE,
        "steps": STEPS,
        "plain_rate": PLAIN_RATE,
        "plain_steps": PLAIN_STEPS,
        "noise": NOISE,
        "delta": DELTA,
    }


def main() -> None:
    """Runs the seeds that have no record yet, then prints means over all."""
    parser = runner.arguments("Accuracy and audited privacy of private training.")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    options = parser.parse_args()
    records = [
        runner.record(
            "private_training",
            functools.partial(measure, options.data, seed),
            settings=settings(),
            seed=seed,
            out=options.out,
        )["figures"]
        for seed in options.seeds
    ]
    for name, first in records[0].items():
        runs = [record[name] for record in records]
        accuracy = runner.summary([run["accuracy"]["dense"] for run in runs])
        print(
            f"{name:10} epsilon {first['epsilon'] or math.inf:6.2f}"
            f"  accuracy {accuracy.mean:.4f} ± {accuracy.standard_error:.4f}"
        )
        for version in first["audits"]:
            bounds = [run["audits"][version]["epsilon"] for run in runs]
            right = np.mean([run["accuracy"][version] for run in runs])
            print(f"   {version:8} accuracy {right:.4f}  epsilon at least {np.round(bounds, 2)}")
        print(f"   the set: epsilon at least {[round(run['set']['epsilon'], 2) for run in runs]}")


if __name__ == "__main__":
    main()
