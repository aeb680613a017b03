"""The classifier two-sample test: can a small network tell new examples from old?"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result
from jaxcompress.validate.intervals import wilson
from jaxcompress.validate.shift.arguments import standardizer, two_sets
from jaxcompress.validate.shift.stability import NO_PROOF

LEVEL = 0.05
LEARNING_RATE, WEIGHT_DECAY = 1e-2, 1e-2


@dataclasses.dataclass(frozen=True)
class ClassifierTest(Result):
    """How well a network tells two sets apart on examples it was not trained on.

    Args:
      n: examples of each set that it was tested on.
      accuracy: on as many of both; 0.5 by chance.
      interval: (low, high) of the accuracy, Wilson's at 0.95.
      p: exact binomial of "no better than a coin", in (0, 1].
      auc: chance that it ranks a new example above an old one; 0.5 by chance.
      auc_p: of the rank test of the same, one-sided.
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    p: float
    auc: float
    auc_p: float

    def finding(self) -> Finding:
        """For a card: whether the sets can be told apart at the level 0.05."""
        shifted = self.p <= LEVEL
        return Finding(
            "input shift",
            f"A small network tells new examples from old ones in {self.accuracy:.0%} of "
            f"{2 * self.n:,} cases that it was not trained on; a coin in half of them.",
            (
                Figure("accuracy", self.accuracy, self.interval, format=".1%"),
                Figure("p", self.p, format=".2g"),
                Figure("AUC", self.auc, format=".3f"),
            ),
            FAILS if shifted else UNDECIDED,
            () if shifted else (NO_PROOF,),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return dataclasses.asdict(self) | {"interval": list(self.interval)}


def classifier_test(
    reference: ArrayLike,
    new: ArrayLike,
    *,
    hidden: int = 32,
    steps: int = 200,
    seed: int = 0,
) -> ClassifierTest:
    """Tests whether a network trained on half of two sets tells the other halves apart.

    Not for: a mean that moved: by half a deviation `kernel_test` found 97 % of draws,
    this at most 33 %.

    It finds by itself what separates the sets, in one feature or in many together. Half
    of the smaller set and as many of the larger are kept for the test; all others are
    trained on, each set with the same total weight.

        p = chance of at least so many right answers among 2 n fair coins

    If the sets are alike, examples of one are right with a chance a and those of the
    other with 1 - a. Such a sum spreads no wider than that of fair coins, so p holds
    for any network and any distribution.

    Also known as: C2ST, classifier two-sample test, domain classifier, adversarial
    validation.

    Args:
      reference: (n, ...), real and finite, n at least 4.
      new: (m, ...), of the same features, m at least 4.
      hidden: units of the hidden layer; 0 for logistic regression.
      steps: of AdamW on all training examples at once.
      seed: of the halves and the first weights.

    Returns:
      Accuracy, its p-value, and the AUC with that of its rank test.

    Raises:
      TypeError: the sets are no numbers.
      ValueError: sets of different features, fewer than four examples, a value that is
        not finite, an option out of range.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> reference, new = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 2
      >>> jc.validate.shift.classifier_test(reference, new, hidden=0).p < 0.001
      True

    Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545, section 3. Differs: the p-value
    is exact in place of normal, by Hoeffding 1956, Ann. Math. Stat. 27, theorem 4.
    """
    from scipy import stats

    first, second = two_sets("classifier_test", reference, new)
    hidden = check_count("classifier_test", "hidden", hidden, least=0)
    steps = check_count("classifier_test", "steps", steps)
    seed = check_count("classifier_test", "seed", seed, least=0)
    kept = min(len(first), len(second)) // 2
    if kept < 2:
        raise ValueError(
            f"classifier_test(reference of {len(first)} examples, new of {len(second)}) needs four"
            " or more in both, half of them to train on."
        )
    rng = np.random.default_rng(seed)
    old_train, old_test = _halves(first, kept, rng)
    new_train, new_test = _halves(second, kept, rng)
    train, test = np.concatenate([old_train, new_train]), np.concatenate([old_test, new_test])
    scaled = standardizer(train)
    weights = np.concatenate(
        [np.full(len(part), 0.5 / len(part), np.float32) for part in (old_train, new_train)]
    )
    is_new = (np.arange(len(train)) >= len(old_train)).astype(np.float32)
    params = _initial(train.shape[1], hidden, jax.random.key(seed))
    logits = np.asarray(_fitted_logits(params, scaled(train), is_new, weights, scaled(test), steps))
    right = int(np.sum(logits[:kept] <= 0) + np.sum(logits[kept:] > 0))
    ranks = stats.mannwhitneyu(logits[kept:], logits[:kept], alternative="greater")
    return ClassifierTest(
        n=kept,
        accuracy=right / (2 * kept),
        interval=wilson(right, 2 * kept),
        p=float(stats.binomtest(right, 2 * kept, alternative="greater").pvalue),
        auc=float(ranks.statistic) / kept**2,
        auc_p=float(ranks.pvalue),
    )


def _halves(
    examples: np.ndarray, kept: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What is trained on, and `kept` examples to test on."""
    shuffled = examples[rng.permutation(len(examples))]
    return shuffled[kept:], shuffled[:kept]


def _initial(features: int, hidden: int, key: Key) -> Params:
    if not hidden:
        return {"weights": jnp.zeros(features), "bias": jnp.zeros(())}
    kernel = jax.nn.initializers.he_normal()(key, (features, hidden))
    return {
        "kernel": kernel,
        "shift": jnp.zeros((1, hidden)),
        "weights": jnp.zeros(hidden),
        "bias": jnp.zeros(()),
    }


def _logits(params: Params, x: Array) -> Array:
    """(n, features) to (n,), above 0 for what looks new."""
    if "kernel" in params:
        x = jax.nn.relu(x @ params["kernel"] + params["shift"])
    return x @ params["weights"] + params["bias"]


@jax.jit
def _fitted_logits(
    params: Params, train: Array, is_new: Array, weights: Array, test: Array, steps: Array
) -> Array:
    """Trains by AdamW on all of `train` at once; the logits of `test`."""
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss(params: Params) -> Array:
        losses = optax.sigmoid_binary_cross_entropy(_logits(params, train), is_new)
        return jnp.sum(weights * losses)

    def step(_: Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params, _ = jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))
    return _logits(params, test)
