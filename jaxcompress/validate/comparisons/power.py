"""How many examples a claim needs, and whether a test set has them."""

import dataclasses
from typing import Any

from jaxcompress.core.checks import check_count, check_inside, check_share
from jaxcompress.core.kinds import check_takes
from jaxcompress.validate.comparisons.claims import Claim

_MOST = 10**8
"""Examples above which the search stops."""
_CLAIM = "Make it with comparisons.claims, for example not_worse(margin=..., discordance=...)."


def required_examples(claim: Claim, *, power: float = 0.8) -> int:
    """The number of examples that shows a claim with probability `power`.

    Not for: a number of examples that is given; `sufficiency` says what it shows.

    Found by doubling and halving; chances of exact tests fall by little at some n, so
    that a few n below may do as well.

    Also known as: sample size calculation, power analysis.

    Args:
      claim: n -> chance, of `comparisons.claims` or one of your own that rises with n.
      power: chance of showing what is true, in (0, 1).

    Returns:
      n, with claim(n) >= power and claim(n - 1) < power, or 1.

    Raises:
      ValueError: power is out of range, or 10⁸ examples are too few.

    Example:
      >>> comparisons = jc.validate.comparisons
      >>> claim = comparisons.claims.narrow(width=0.02, accuracy=0.95)
      >>> comparisons.required_examples(claim)
      1978
    """
    check_takes("required_examples", "claim", claim, 1, _CLAIM)
    check_inside("required_examples", "power", power, 0, 1)
    few, many = 0, 1
    while _chance("required_examples", claim, many) < power:
        few, many = many, 2 * many
        if many > _MOST:
            raise ValueError(
                f"required_examples(claim, power={power}): not shown by {few} examples. Allow a"
                " wider margin or less power."
            )
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (
            (few, middle)
            if _chance("required_examples", claim, middle) >= power
            else (middle, many)
        )
    return many


@dataclasses.dataclass(frozen=True)
class Sufficiency:
    """Whether a test set is large enough for a claim.

    Args:
      n: examples there are.
      chance: that they show the claim where it is true, in [0, 1].
      required: examples that show it with probability `power`.
      power: chance asked for, in (0, 1).
    """

    n: int
    chance: float
    required: int
    power: float

    @property
    def enough(self) -> bool:
        """Whether the chance reaches the power."""
        return self.chance >= self.power

    @property
    def verdict(self) -> str:
        """What follows, in words."""
        have = f"{self.n} examples show the claim with probability {self.chance:.2f}"
        if self.enough:
            return f"enough examples: {have}"
        return f"too few examples: {have}; it takes about {self.required} for {self.power:g}"

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain numbers and words."""
        return dataclasses.asdict(self) | {"enough": self.enough, "verdict": self.verdict}


def sufficiency(n: int, claim: Claim, *, power: float = 0.8) -> Sufficiency:
    """Whether n examples are enough for a claim, and how many would be.

    Args:
      n: examples there are, at least 1.
      claim: n -> chance, see `required_examples`.
      power: chance asked for, in (0, 1).

    Returns:
      The chance, the number required and a verdict in words.

    Raises:
      ValueError: what `required_examples` raises, or n is no count.

    Example:
      >>> comparisons = jc.validate.comparisons
      >>> claim = comparisons.claims.narrow(width=0.02, accuracy=0.95)
      >>> result = comparisons.sufficiency(1000, claim)
      >>> result.chance, result.required, result.enough
      (0.0, 1978, False)
    """
    n = check_count("sufficiency", "n", n)
    check_takes("sufficiency", "claim", claim, 1, _CLAIM)
    check_inside("sufficiency", "power", power, 0, 1)
    return Sufficiency(
        n, _chance("sufficiency", claim, n), required_examples(claim, power=power), float(power)
    )


def check_examples(n: int, claim: Claim, *, power: float = 0.8) -> None:
    """Raises a ValueError that says how many examples it would take, if n are too few.

    To be called before anything is trained or evaluated.

    Args:
      n: examples there are, at least 1.
      claim: n -> chance, see `required_examples`.
      power: chance asked for, in (0, 1).

    Raises:
      ValueError: n examples show the claim with less than that chance; and what
        `sufficiency` raises.

    Example:
      >>> comparisons = jc.validate.comparisons
      >>> claim = comparisons.claims.not_worse(margin=0.05, discordance=0.1)
      >>> comparisons.check_examples(2000, claim)
    """
    n = check_count("check_examples", "n", n)
    check_takes("check_examples", "claim", claim, 1, _CLAIM)
    check_inside("check_examples", "power", power, 0, 1)
    found = _chance("check_examples", claim, n)
    if found < power:
        raise ValueError(
            f"check_examples(n={n}, claim): {sufficiency(n, claim, power=power).verdict}."
        )


def _chance(caller: str, claim: Claim, n: int) -> float:
    chance = claim(n)
    check_share(caller, "claim(n)", chance)
    return float(chance)
