"""Random codes for `deep_compression`: a net whose file holds indices alone."""

import jax
import optax

import jaxcompress as jc
from benchmarks.lenets import Objective
from benchmarks.sparsity_lenet import Run, trained
from jaxcompress.core.types import Array, Key, Params

BITS, SPARE = 16, 1.0
"""Of an index, and how many of them the divergence leaves."""

RATE, BESIDE_RATE = 1e-2, 0.1
"""Of weights and of what stands beside them."""

ROUNDS, BETWEEN = 5, 1
"""Of encoding, and the epochs after each but the last, at a tenth of the rates."""

WEIGHTS = {"dense1/0": 0.75, "dense2/0": 0.2, "dense3/0": 0.03}
"""Shares of the bytes; each bias has a third of the rest."""

SETTINGS = {
    "bits": BITS,
    "spare": SPARE,
    "rate": RATE,
    "beside_rate": BESIDE_RATE,
    "rounds": ROUNDS,
    "between": BETWEEN,
    "weights": WEIGHTS,
}


def random_codes(
    run: Run, params: Params, loss: Objective, size: float, epochs: int
) -> tuple[Params, Params]:
    """Noisy weights are trained, and encoded by random candidates in some bytes.

    Args:
      run: of a LeNet-300-100.
      params: where means begin.
      loss: that they are trained on.
      size: bytes of all indices together.
      epochs: before blocks are encoded.

    Returns:
      Params as codes, encoded at once, and in rounds with training in between.
    """
    leaves = jc.named_leaves(params)
    biases = (1 - sum(WEIGHTS.values())) / (len(leaves) - len(WEIGHTS))
    rates = {name: 8 * size * WEIGHTS.get(name, biases) / x.size for name, x in leaves.items()}
    technique = jc.quantize.companions.random_codes(
        jc.Rules(rates), bits=BITS, spare=SPARE, axes=run.axes, select=jc.everything()
    )

    def on(codes: dict):
        def objective(both: tuple, x: Array, labels: Array, key: Key) -> Array:
            seen = technique.view(*both, step=jc.Step(key=key), codes=codes)
            return loss(seen, x, labels, key)

        return objective

    def optimizer(epochs: int, share: float) -> optax.GradientTransformation:
        weights, beside = (
            optax.adam(optax.cosine_decay_schedule(share * rate, run.steps(epochs)))
            for rate in (RATE, BESIDE_RATE)
        )
        return optax.partition({"weights": weights, "beside": beside}, ("weights", "beside"))

    both = params, technique.init(params)
    both, _ = trained(run, on({}), both, optimizer(epochs, 1.0), epochs)
    key = jax.random.key(run.seed)
    at_once = technique.freeze(*both, step=jc.Step(key=key))
    codes: dict = {}
    for number in range(1, ROUNDS + 1):
        step = jc.Step(number, jax.random.fold_in(key, number))
        codes = technique.encode(*both, step, codes, number / ROUNDS)
        if number < ROUNDS:
            both, _ = trained(run, on(codes), both, optimizer(BETWEEN, 0.1), BETWEEN)
    return at_once, technique.freeze(*both, codes=codes)
