"""The relative attack, for one to four reference models: RMIA."""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.validate.membership import operating
from jaxcompress.validate.membership.attacks.calibrated import mean_where
from jaxcompress.validate.membership.inputs import (
    enough_out,
    flags,
    real,
    same_length,
    with_shadows,
)

OFFSETS = np.arange(11) / 10
"""What `rmia_offset` tries."""


def rmia(
    target: ArrayLike,
    signals: ArrayLike,
    members: ArrayLike,
    population: ArrayLike,
    *,
    offset: float,
) -> np.ndarray:
    """Share of the population that an example's likelihood ratio is not below.

    Not for: audits with dozens of shadow models, from which `lira_online` found 28 %
    where it found 8 %.

        ratio_x = p_x / ((1 + a) / 2 · mean_out_x + (1 - a) / 2)
        score_x = share of z in the population with ratio_x / ratio_z >= 1

    with p the probability of the label, mean_out its mean over the reference models
    that were trained without x, and a the `offset`: the fewer those models, the less
    their mean says. The score is the share of non-members that look less like a member,
    so that one threshold serves several targets. Where no z lies between two examples
    their ratios decide, ratio / (1 + ratio) of a step of 1 / (population + 1).

    Also known as: robust membership inference attack.

    Args:
      target: (n,) in [0, 1], as `label_probability` gives it.
      signals: (shadows, n), the same of one to four reference models, or more.
      members: (shadows, n) bool, what each was trained on.
      population: (n,) bool, examples that neither the target nor a reference model was
        trained on; they get scores too, which are not to be counted.
      offset: a in [0, 1], as `rmia_offset` chooses it.

    Returns:
      (n,) float64 in [0, 1], higher = member.

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, a probability or the offset is out of range, the
        population is empty or in a training set, or every reference model was trained
        on one of the examples.

    Example:
      >>> target, signals = [0.9, 0.5, 0.4, 0.1], [[0.2, 0.5, 0.4, 0.2]]
      >>> members = [[False, True, False, False]]
      >>> population, members = [False, False, True, True], np.zeros((1, 4), bool)
      >>> rmia = jc.validate.membership.attacks.rmia
      >>> rmia(target, signals, members, population, offset=1)
      array([0.939, 0.833, 0.833, 0.444])

    Source: Zarifzadeh et al. 2024, arXiv:2312.03262, sections 3 and B.2, with gamma 1.
    Differs: examples above the whole population are told apart by their ratios.
    """
    target, signals, members = _probabilities("rmia", target, signals, members)
    population = _population("rmia", population, members)
    check_share("rmia", "offset", offset)
    enough_out("rmia", members)
    return _dominated(_ratios(target, signals, members, float(offset)), population)


def rmia_offset(signals: ArrayLike, members: ArrayLike, population: ArrayLike) -> float:
    """The offset a with which `rmia` best attacks the reference models themselves.

    Each reference model takes the target's place in turn, the others stay reference
    models. Of 0, 0.1 … 1 the one with the largest mean area under the ROC curve is
    taken, the first among equals. The target is never asked.

    Args:
      signals: (shadows, n) in [0, 1], of two or more reference models.
      members: (shadows, n) bool, what each was trained on.
      population: (n,) bool, examples that none was trained on.

    Returns:
      a in [0, 1].

    Raises:
      TypeError: an argument is no array of its kind.
      ValueError: shapes do not fit, a probability is out of range, the population is
        empty or in a training set, or there is one reference model.

    Example:
      >>> signals, members = [[0.9, 0.8, 0.4], [0.5, 0.9, 0.3]], np.eye(2, 3) > 0
      >>> population = np.array([False, False, True])
      >>> jc.validate.membership.attacks.rmia_offset(signals, members, population)
      0.0

    Source: Zarifzadeh et al. 2024, arXiv:2312.03262, section B.2.2.
    """
    signals = real("rmia_offset", "signals", signals, "(shadows, n)")
    if len(signals) < 2:
        raise ValueError(
            "rmia_offset(signals) has one reference model, and two are the least: one is attacked"
            " by the others. With one model give rmia an offset, such as 0.3."
        )
    _, signals, members = _probabilities("rmia_offset", signals[0], signals, members)
    population = _population("rmia_offset", population, members)
    return float(OFFSETS[np.argmax([_strength(signals, members, population, a) for a in OFFSETS])])


def _strength(
    signals: np.ndarray, members: np.ndarray, population: np.ndarray, offset: float
) -> float:
    """The mean area under the ROC curve with each reference model as the target."""
    areas = []
    for held, inside in enumerate(members):
        others = np.arange(len(members)) != held
        # A member of the held model that all others were trained on too has no mean.
        asked = (~members[others]).any(0)
        rest = [each[others][:, asked] for each in (signals, members)]
        ratios = _ratios(signals[held][asked], rest[0], rest[1], offset)
        if inside[asked].any():
            areas.append(operating.auc(ratios, inside[asked]))
    if not areas:
        raise ValueError(
            "rmia_offset(members): no reference model has a member that another was trained"
            " without. Train them on different examples."
        )
    return float(np.mean(areas))


def _ratios(
    target: np.ndarray, signals: np.ndarray, members: np.ndarray, offset: float
) -> np.ndarray:
    reference = (1 + offset) / 2 * mean_where(signals, ~members) + (1 - offset) / 2
    return target / np.maximum(reference, np.finfo(np.float64).tiny)


def _dominated(ratios: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The share of the population, and between two of it the place of the ratio."""
    ranked = np.sort(ratios[population])
    counts = np.searchsorted(ranked, ratios, side="right")
    return (counts + ratios / (1 + ratios)) / (len(ranked) + 1)


def _probabilities(
    caller: str, target: ArrayLike, signals: ArrayLike, members: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    target, signals, members = with_shadows(caller, target, signals, members)
    for argument, values in {"target": target, "signals": signals}.items():
        # Rounding of exp(-loss) may end an ulp above 1.
        if values.min() < 0 or values.max() > 1 + 1e-6:
            raise ValueError(
                f"{caller}({argument}) must be probabilities in [0, 1], and has values from"
                f" {values.min():g} to {values.max():g}. label_probability gives them."
            )
    return target, signals, members


def _population(caller: str, population: ArrayLike, members: np.ndarray) -> np.ndarray:
    population = flags(caller, "population", population, "(n,)")
    same_length(caller, population=len(population), members=members.shape[1])
    if not population.any():
        raise ValueError(f"{caller}(population) holds no example. Keep some that no model sees.")
    trained = np.flatnonzero(population & members.any(0))
    if trained.size:
        raise ValueError(
            f"{caller}(population): {trained.size} of its examples, the first is {trained[0]},"
            " were trained on by a reference model. The population is what no model saw."
        )
    return population
