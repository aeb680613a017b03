"""Whether two evaluations are of the same examples, so that they can be paired."""

import numpy as np

from jaxcompress.core.kinds import check_kind
from jaxcompress.validate.results import Evaluation


def check_paired(caller: str, reference: Evaluation, candidate: Evaluation, *names: str) -> None:
    """Raises unless two evaluations are of the same metrics and examples, in one order.

    Args:
      caller: what errors name.
      reference: evaluation of one model.
      candidate: evaluation of the other.
      *names: the metrics that both must have.

    Raises:
      TypeError: one of them is no evaluation.
      ValueError: fewer than two examples; other examples, or the same in another order;
        a metric that one lacks; targets that differ.
    """
    for argument, each in {"reference": reference, "candidate": candidate}.items():
        check_kind(caller, argument, each, Evaluation, "Make it with validate.evaluate.")
        missing = [name for name in names if name not in each]
        if missing:
            raise ValueError(
                f"{caller}({argument} with the metrics {', '.join(each)}) needs"
                f" {' and '.join(map(repr, missing))}. Evaluate with them."
            )
    if reference.n != candidate.n or reference.n < 2:
        raise ValueError(
            f"{caller}(reference of {reference.n} examples, candidate of {candidate.n}) needs the"
            " same examples in both, at least two."
        )
    differ = np.flatnonzero(np.any(reference.fingerprints != candidate.fingerprints, axis=1))
    if differ.size:
        same = sorted(reference.fingerprints.tolist()) == sorted(candidate.fingerprints.tolist())
        why = "The order differs" if same else "Some examples differ"
        raise ValueError(
            f"{caller}(reference, candidate): the inputs of {differ.size} of {reference.n} examples"
            f" differ, the first is example {differ[0]}. {why}; evaluate both on the same examples"
            " in one order."
        )
    differ = np.flatnonzero(
        np.any(reference.target_fingerprints != candidate.target_fingerprints, axis=1)
    )
    if differ.size:
        raise ValueError(
            f"{caller}(reference, candidate): the targets of {differ.size} of {reference.n}"
            f" examples differ, the first is example {differ[0]}. Evaluate both on the same"
            " examples by the same targets."
        )
