"""Lower bounds on epsilon of several models that are published together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from jaxcompress.core.kinds import check_mapping
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.privacy.findings import of_bound
from jaxcompress.validate.privacy.one_run import Guesses, OneRunAudit, one_run_audit


@dataclasses.dataclass(frozen=True)
class VersionsAudit(Result):
    """A lower bound on epsilon of all versions together, and of every attack on them.

    Invariants:
      - `audits` is not empty; each is at confidence 1 - (1 - confidence) / len(audits).
      - `epsilon` is the largest of theirs.

    Args:
      audits: by name of the scores, the bound that they alone give.
      confidence: with which all of the bounds hold at once.
    """

    audits: Mapping[str, OneRunAudit]
    confidence: float

    @property
    def strongest(self) -> str:
        """The name of the scores that give the largest bound."""
        return max(self.audits, key=lambda name: self.audits[name].epsilon)

    @property
    def epsilon(self) -> float:
        """The bound of the set of versions."""
        return self.audits[self.strongest].epsilon

    def finding(self) -> Finding:
        """For a card: the bound of all versions, from the attack that gives it."""
        delta = self.audits[self.strongest].delta
        how = f"the scores {self.strongest!r} of {len(self.audits)}"
        return of_bound(self.epsilon, delta, self.confidence, how)

    def to_json(self) -> dict[str, Any]:
        """The bound, the name it comes from, and the audits, as plain values."""
        return {
            "epsilon": self.epsilon,
            "strongest": self.strongest,
            "confidence": self.confidence,
            "audits": {name: audit.to_json() for name, audit in self.audits.items()},
        }


def versions_audit(
    scores: Mapping[str, ArrayLike],
    members: ArrayLike,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    guesses: Guesses | None = None,
    seed: int = 0,
) -> VersionsAudit:
    """Lower bound on epsilon of every version that is published together.

    A dense model and its compressed copies were made from one set of examples. Who gets
    all of them attacks the set, so that the claim to refute is that of the set, and any
    attack counts: on one version, or by a score made from the signals of all and of
    their differences. Each is audited at confidence 1 - (1 - confidence) / attacks
    (Bonferroni), and the largest bound is that of the set.

    Args:
      scores: by name, (m,) scores of the same canaries, higher means member: of each
        version and of the versions together.
      members: (m,) bool, which canaries were in the training data, by fair coins.
      delta: of the claim, in [0, 1).
      confidence: with which all bounds hold at once, in (0, 1).
      guesses: as in `one_run_audit`.
      seed: as in `one_run_audit`.

    Returns:
      The bounds; `.epsilon` is that of the set.

    Raises:
      TypeError: `scores` is no mapping.
      ValueError: there are no scores; or as `one_run_audit`.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> members = rng.random(500) < 0.5
      >>> dense, int4 = rng.normal(size=(2, 500)) + members
      >>> scores = {"dense": dense, "int4": int4, "together": dense + int4}
      >>> audit = jc.validate.privacy.versions_audit(scores, members)
      >>> audit.strongest, round(audit.epsilon, 2)
      ('together', 1.78)

    Source: the bound is Steinke, Nasr and Jagielski 2023, arXiv:2305.08846; that
    several versions leak more than any of them is shown in arXiv:2507.16872.
    """
    check_mapping("versions_audit", "scores", scores, "Its keys name the versions.")
    if not scores:
        raise ValueError("versions_audit(scores={}) holds no scores. Pass at least one version's.")
    level = 1 - check_confidence("versions_audit", confidence)
    audits = {}
    for name, each in scores.items():
        try:
            audits[name] = one_run_audit(
                each,
                members,
                delta=delta,
                confidence=1 - level / len(scores),
                guesses=guesses,
                seed=seed,
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"versions_audit, of scores[{name!r}]: {error}") from error
    return VersionsAudit(audits, 1 - level)
