"""Units whose scores are below a threshold, however many they are."""

from jaxcompress.core.checks import check_number
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.structure.amounts.amount import Amount, HostScores
from jaxcompress.structure.widths import Candidates, Widths


def below(threshold: Rules[float] | float) -> Amount:
    """Every unit whose score is below a threshold.

    Not for: a size that must be met, since it follows from the scores; take
    `within_parameters`.

    Also known as: threshold pruning; with `importance.norm_scale`, network slimming.

    No unit at or above it is removed. Some below it may stay, those of the highest
    scores: a family keeps at least its floor, and the next wider of the allowed widths;
    where each layer of a scan loses units of its own, all lose as many as the layer
    with the fewest below, since their arrays are stacked. Scores of different families
    compare where they are rises of a loss, or after `importance.normalized`.

    Args:
      threshold: in the measure of the importance, finite, or `Rules` of it over family
        names. A unit that scores exactly this stays.

    Returns:
      Amount.

    Raises:
      ValueError: a threshold is not a finite number; when applied, a rule matches no
        family.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> largest = jc.structure.importance.magnitude(order=1)
      >>> small = jc.structure.amounts.below(3.5)
      >>> plan = jc.structure.plan(fn, params, largest, jnp.ones((1, 4)), cut=small)
      >>> plan.families[0].scores, plan.families[0].removed
      ((2.0, 5.0, 4.0, 3.0), (0, 3))

    Source: Liu et al. 2017, arXiv:1708.06519, section 3, remove channels below a
    threshold over all layers. Differs: the threshold is given, not a percentile.
    """
    rules = as_rules(threshold)
    for _, each in rules.pairs:
        check_number("below", "threshold", each)

    def check(candidates: Candidates) -> None:
        rules.assign(candidates.ladders)

    def widths(candidates: Candidates, scores: HostScores) -> Widths:
        present = candidates.present
        # Layers of a stack keep one width: that of the layer that has the fewest below.
        return present | {
            name: candidates.allowed(
                name, present[name] - int((scores[name] < least).sum(axis=-1).min())
            )
            for name, least in rules.assign(candidates.ladders).items()
        }

    return Amount(check, widths)
