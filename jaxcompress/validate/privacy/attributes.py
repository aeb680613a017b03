"""Attribute inference: a sensitive feature guessed from a model's losses."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_iterable, check_loss
from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Loss, Model, Params, PyTree
from jaxcompress.validate.arrays import check_all_finite, known, real
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.evaluate import predict
from jaxcompress.validate.intervals import check_confidence, paired_interval, wilson
from jaxcompress.validate.privacy.findings import of_attributes
from jaxcompress.validate.privacy.scores import checked_members

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class AttributeAudit(Result):
    """How often a sensitive feature is guessed: of members, of others, by marginals.

    Invariants:
      - Accuracies are fractions of right guesses; differences are of these.
      - `advantage` is what the model adds to the marginals, on members; `leakage` is
        what training on a record adds: of what can be inferred of anyone from the
        population, it holds nothing.

    Args:
      values: number of values that the feature may have.
      members: number of records that the model was trained on.
      nonmembers: number of records that it was not trained on.
      member_accuracy: of the attack, on members.
      nonmember_accuracy: of the attack, on others.
      baseline_accuracy: of always guessing the most frequent value, on members.
      member_interval: of `member_accuracy`, (low, high), Wilson's.
      nonmember_interval: of `nonmember_accuracy`, the same.
      advantage: member_accuracy - baseline_accuracy.
      advantage_interval: exact, of pairs, see `validate.paired_interval`.
      leakage: member_accuracy - nonmember_accuracy.
      leakage_interval: Newcombe's, of two proportions.
      confidence: of the intervals.
    """

    values: int
    members: int
    nonmembers: int
    member_accuracy: float
    nonmember_accuracy: float
    baseline_accuracy: float
    member_interval: Interval
    nonmember_interval: Interval
    advantage: float
    advantage_interval: Interval
    leakage: float
    leakage_interval: Interval
    confidence: float

    @property
    def leaks(self) -> bool:
        """Whether members are guessed better than others, at this confidence."""
        return self.leakage_interval[0] > 0

    def finding(self) -> Finding:
        """For a card: is the feature of members guessed better than that of others."""
        return of_attributes(self)

    def to_json(self) -> dict[str, Any]:
        """All fields and `leaks`, as plain numbers and lists."""
        record = dataclasses.asdict(self) | {"leaks": self.leaks}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in record.items()
        }


def candidate_losses(
    fn: Model,
    params: Params,
    candidates: Sequence[PyTree],
    targets: PyTree,
    loss: Loss,
    *,
    batch_size: int = 256,
) -> np.ndarray:
    """A model's loss on each record, with each value that a feature may have.

    Args:
      fn: model in evaluation mode, fn(params, inputs) -> outputs.
      params: tree of arrays; of compressed leaves where `fn` takes them.
      candidates: for each value the inputs, with first axis n, in which the feature has
        that value in every record: for a column, `x.at[:, column].set(value)`.
      targets: array, or tree of arrays, with first axis n.
      loss: (outputs, targets) -> (n,), such as a cross-entropy. For a regression with
        errors of standard deviation s, squares over 2 · s², so that losses are minus
        logarithms of probabilities.
      batch_size: records per call.

    Returns:
      (n, values) float64.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: fewer than two values; what `predict` raises; a loss of another shape.

    Example:
      >>> x = jnp.array([[0.0, 2.0], [1.0, 3.0]])
      >>> values = [x.at[:, 0].set(value) for value in (0.0, 1.0)]
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> model = lambda params, x: x @ params
      >>> y = jnp.array([2.0, 4.0])
      >>> jc.validate.privacy.candidate_losses(model, jnp.ones(2), values, y, squared)
      array([[0., 1.],
             [1., 0.]])

    Source: Fredrikson et al. 2014, USENIX Security, section 3; Yeom et al. 2018,
    arXiv:1709.01604, section 5.
    """
    name = "candidate_losses"
    check_model(name, fn)
    check_arrays(name, "params", params)
    check_iterable(name, "candidates", candidates, "Pass the inputs for each value.")
    candidates = list(candidates)
    check_arrays(name, "candidates", candidates)
    check_arrays(name, "targets", targets)
    check_loss(name, loss)
    check_count(name, "batch_size", batch_size)
    check_concrete(name, params=params, candidates=candidates, targets=targets)
    if len(candidates) < 2:
        raise ValueError(f"{name}(candidates of {len(candidates)} values) needs at least two.")
    rows = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(candidates)}
    if {np.shape(leaf)[:1] for leaf in jax.tree.leaves(targets)} != rows or rows & {(), (0,)}:
        raise ValueError(
            f"{name}(candidates, targets): each array needs a first axis of n records, the same n"
            " in all, at least 1."
        )

    def judged(params: Params, batch: PyTree) -> PyTree:
        inputs, targets = batch
        return loss(fn(params, inputs), targets)

    columns = [
        np.asarray(predict(judged, params, (inputs, targets), batch_size=batch_size), np.float64)
        for inputs in candidates
    ]
    if columns[0].ndim != 1 or len({each.shape for each in columns}) > 1:
        raise ValueError(
            f"{name}(loss) gives shapes {sorted({each.shape for each in columns})}. It must give"
            " one number per record."
        )
    return np.stack(columns, axis=1)


def attribute_audit(
    losses: ArrayLike,
    truth: ArrayLike,
    members: ArrayLike,
    *,
    prior: ArrayLike | None = None,
    confidence: float = 0.95,
) -> AttributeAudit:
    """How well a sensitive feature is guessed from a model, and if that is leakage.

    Not for: whether a record was trained on; take `membership.audit`.

        guess_i = argmax_v log prior_v - loss_iv

    The attack knows the rest of the record, its target and the marginals of the
    feature.
    Guessing better than the marginals is no leakage by itself: a model that has learnt
    how the population is tells as much of people whom it has never seen. Leakage is how
    much better it does on members than on others, so that both are needed.

    Also known as: model inversion (of tables), attribute advantage.

    Args:
      losses: (n, values), from `candidate_losses`: minus the logarithm of how probable
        the target is if the feature has that value.
      truth: (n,) integers in [0, values), the value that each record has.
      members: (n,) bool, which records the model was trained on. The others must be of
        the same population.
      prior: (values,) marginals of the feature, above 0, divided by their sum; by
        default the counts in `truth`, each with one added.
      confidence: of the intervals, in (0, 1).

    Returns:
      Accuracies on members and others, differences, and their intervals.

    Raises:
      ValueError: losses that are not finite or no table of at least two values; a truth
        that is no value, or not one for each record; records all in or all out; a wrong
        prior or confidence.

    Example:
      >>> truth, members = np.arange(200) % 2, np.arange(200) < 100
      >>> told = np.where(members, truth, 0)  # by heart of members, nothing of others
      >>> losses = 3.0 * (told[:, None] != np.arange(2))
      >>> audit = jc.validate.privacy.attribute_audit(losses, truth, members)
      >>> audit.member_accuracy, audit.nonmember_accuracy, audit.leaks
      (1.0, 0.5, True)

    Source: Yeom et al. 2018, arXiv:1709.01604, section 5; the guess is that of
    Fredrikson et al. 2014. Interval of the difference: Newcombe 1998, Statistics in
    Medicine 17, method 10.
    """
    name = "attribute_audit"
    table = _checked_losses(name, losses)
    n, values = table.shape
    truth = _checked_truth(name, truth, n, values)
    members = checked_members(name, members, n)
    confidence = check_confidence(name, confidence)
    chances = _checked_prior(name, prior, truth, values)
    right = np.argmax(np.log(chances) - table, axis=1) == truth
    by_chance = truth == np.argmax(chances)
    inside, outside = right[members], right[~members]
    gained = int(np.sum(inside & ~by_chance[members]))
    lost = int(np.sum(~inside & by_chance[members]))
    member_interval = wilson(int(inside.sum()), inside.size, confidence=confidence)
    nonmember_interval = wilson(int(outside.sum()), outside.size, confidence=confidence)
    leakage = float(inside.mean() - outside.mean())
    return AttributeAudit(
        values=values,
        members=inside.size,
        nonmembers=outside.size,
        member_accuracy=float(inside.mean()),
        nonmember_accuracy=float(outside.mean()),
        baseline_accuracy=float(by_chance[members].mean()),
        member_interval=member_interval,
        nonmember_interval=nonmember_interval,
        advantage=(gained - lost) / inside.size,
        advantage_interval=paired_interval(gained, lost, inside.size, confidence=confidence),
        leakage=leakage,
        leakage_interval=_newcombe(
            float(inside.mean()), member_interval, float(outside.mean()), nonmember_interval
        ),
        confidence=confidence,
    )


def _newcombe(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """Limits of one - other, from the limits of each."""
    difference = one - other
    return (
        difference - math.hypot(one - of_one[0], of_other[1] - other),
        difference + math.hypot(of_one[1] - one, other - of_other[0]),
    )


def _checked_losses(caller: str, losses: ArrayLike) -> np.ndarray:
    table = real(caller, "losses", losses)
    if table.ndim != 2 or not len(table) or table.shape[1] < 2:
        raise ValueError(
            f"{caller}(losses of shape {table.shape}) needs the shape (n, values), at least two"
            " values."
        )
    check_all_finite(caller, "losses", table)
    return table


def _checked_truth(caller: str, truth: ArrayLike, n: int, values: int) -> np.ndarray:
    found = known(caller, "truth", truth)
    if found.shape != (n,) or not np.isin(found, np.arange(values)).all():
        raise ValueError(
            f"{caller}(truth of shape {found.shape}) needs {n} integers in [0, {values}), which"
            " of the values each record has."
        )
    return found.astype(np.int64)


def _checked_prior(
    caller: str, prior: ArrayLike | None, truth: np.ndarray, values: int
) -> np.ndarray:
    if prior is None:
        # One more of each: a value that no record has is not impossible.
        counts = np.bincount(truth, minlength=values) + 1.0
        return counts / counts.sum()
    chances = real(caller, "prior", prior)
    if chances.shape != (values,) or not (np.isfinite(chances).all() and (chances > 0).all()):
        raise ValueError(
            f"{caller}(prior of shape {chances.shape}) needs {values} finite numbers above 0."
        )
    return chances / chances.sum()
