"""What a differentially private training spent, by the accountant of dp-accounting."""

import importlib
from typing import Any

from jaxcompress.core.checks import check_count, check_inside, check_positive, check_size

_TOLERANCE = 1e-3
"""Of a noise multiplier that is looked for; the one given spends no more than asked."""
_LEAST = 2.0**-10
"""No smaller noise multiplier is looked for."""


def epsilon(
    noise_multiplier: float, sampling_probability: float, steps: int, delta: float
) -> float:
    """Epsilon at delta of a training with Poisson batches and Gaussian noise.

    Not for: batches of a shuffled set or a fixed size; `one_run_audit` bounds such a
    training from below.

    An upper bound, whatever the attack, for adding or removing one example: of `steps`
    steps, in each of which an example takes part with `sampling_probability`, by a coin
    of its own, and noise of standard deviation noise_multiplier · clip is added to the
    sum of the clipped gradients. It is the account of `train.private_fit`.

    It does not cover batches of a shuffled set, nor batches of a fixed size.

    Also known as: privacy accountant, privacy loss distribution (PLD) accounting.

    Args:
      noise_multiplier: at least 0; 0 gives an infinite epsilon.
      sampling_probability: of an example in a step, in (0, 1].
      steps: number of steps, at least 1.
      delta: in (0, 1), well below 1 / (number of examples).

    Returns:
      Epsilon, at least 0.

    Raises:
      ValueError: an argument is out of range.
      ImportError: dp-accounting is not installed; it is the extra `privacy`.

    Example:
      >>> round(jc.validate.privacy.epsilon(1.3, 256 / 60_000, 3515, 1e-5), 2)
      0.86

    Source: the accountant is that of dp-accounting, by privacy loss distributions:
    Koskela, Jälkö and Honkela 2020, arXiv:1906.03049; Doroshenko et al. 2022,
    arXiv:2207.04380.
    """
    check_size("epsilon", "noise_multiplier", noise_multiplier)
    steps = _checked("epsilon", sampling_probability, steps, delta)
    accounting = _accounting("epsilon")
    event = _event(accounting, float(noise_multiplier), float(sampling_probability), steps)
    return _spent(accounting, event, float(delta))


def noise_multiplier(
    epsilon: float, sampling_probability: float, steps: int, delta: float
) -> float:
    """The least noise multiplier with which a training spends at most epsilon.

    Args:
      epsilon: to spend, above 0.
      sampling_probability: of an example in a step, in (0, 1].
      steps: number of steps, at least 1.
      delta: in (0, 1).

    Returns:
      The noise multiplier, to 0.001; at it `epsilon` is at most what was asked for. It
      is never below 0.0009.

    Raises:
      ValueError: an argument is out of range.
      ImportError: dp-accounting is not installed; it is the extra `privacy`.

    Example:
      >>> round(jc.validate.privacy.noise_multiplier(2.0, 1.0, 1, 1e-5), 2)
      1.99

    Source: as `epsilon`; the search is dp-accounting's.
    """
    check_positive("noise_multiplier", "epsilon", epsilon)
    steps = _checked("noise_multiplier", sampling_probability, steps, delta)
    accounting = _accounting("noise_multiplier")

    def event(noise: float) -> Any:
        return _event(accounting, noise, float(sampling_probability), steps)

    # The accountant works long at little noise: the search begins where it matters.
    high = 1.0
    while _spent(accounting, event(high), float(delta)) > epsilon:
        high *= 2
    while high > _LEAST and _spent(accounting, event(high / 2), float(delta)) <= epsilon:
        high /= 2
    if high <= _LEAST:
        return high
    found = accounting.calibrate_dp_mechanism(
        accounting.pld.PLDAccountant,
        event,
        float(epsilon),
        float(delta),
        accounting.ExplicitBracketInterval(high / 2, high),
        tol=_TOLERANCE,
    )
    return float(found)


def _event(accounting: Any, noise: float, probability: float, steps: int) -> Any:
    step = accounting.PoissonSampledDpEvent(probability, accounting.GaussianDpEvent(noise))
    return accounting.SelfComposedDpEvent(step, steps)


def _spent(accounting: Any, event: Any, delta: float) -> float:
    return float(accounting.pld.PLDAccountant().compose(event).get_epsilon(delta))


def _checked(caller: str, sampling_probability: float, steps: int, delta: float) -> int:
    """The number of steps; raises a ValueError where one is out of range."""
    check_positive(caller, "sampling_probability", sampling_probability)
    if sampling_probability > 1:
        raise ValueError(
            f"{caller}(sampling_probability={sampling_probability}) must be in (0, 1]: it is the"
            " expected batch size over the number of examples."
        )
    check_inside(caller, "delta", delta, 0, 1)
    return check_count(caller, "steps", steps)


def _accounting(caller: str) -> Any:
    """The package of the accountant, which is an extra."""
    try:
        importlib.import_module("dp_accounting.pld")
        return importlib.import_module("dp_accounting")
    except ImportError as error:
        raise ImportError(
            f"validate.privacy.{caller} needs dp-accounting: pip install 'jaxcompress[privacy]'."
        ) from error
