"""Examples on which compressed models, as a set, answer otherwise than originals."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.comparisons.arguments import classes, same_length


@dataclasses.dataclass(frozen=True, eq=False)
class Exemplars:
    """Examples on which compressed models together answer otherwise than originals.

    Args:
      indices: (found,) int, which examples.
      before: (found,) int, the class that most originals predict.
      after: (found,) int, the class that most compressed models predict.
      agreement_before: (found,) share of originals that predict it, in [0, 1].
      agreement_after: (found,) share of compressed models.
    """

    indices: np.ndarray
    before: np.ndarray
    after: np.ndarray
    agreement_before: np.ndarray
    agreement_after: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """All fields as lists of plain numbers."""
        return {
            field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)
        }


def compression_identified_exemplars(originals: ArrayLike, compressed: ArrayLike) -> Exemplars:
    """Examples whose most frequent prediction differs between two sets of models.

    Not for: one model on each side, which chance parts too; `changes` lists what
    differs.

    With several models on either side, what one training or one rounding does by chance
    mostly drops out. They tend to be rare, hard, or wrongly labelled: worth looking at.

    Also known as: PIE, pruning identified exemplars, CIE.

    Args:
      originals: (models, n) integer, predictions of models trained from several seeds.
      compressed: (models, n) integer, predictions of their compressed copies; the
        numbers of models may differ.

    Returns:
      The examples, both classes and how many models agree on each. Among equally
      frequent classes the lowest counts.

    Raises:
      TypeError: classes are not integer.
      ValueError: a shape does not fit, or there are other numbers of examples.

    Example:
      >>> originals = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 1]])
      >>> compressed = np.array([[0, 2, 2], [0, 2, 1], [0, 1, 2]])
      >>> comparisons = jc.validate.comparisons
      >>> found = comparisons.compression_identified_exemplars(originals, compressed)
      >>> found.indices, found.before, found.after
      (array([1]), array([1]), array([2]))

    Source: Hooker et al. 2019, arXiv:1911.05248, section 2.2.
    """
    caller = "compression_identified_exemplars"
    sets = [
        _predictions(caller, argument, values)
        for argument, values in {"originals": originals, "compressed": compressed}.items()
    ]
    same_length(caller, originals=sets[0], compressed=sets[1])
    (before, share_before), (after, share_after) = map(_most_frequent, sets)
    found = np.flatnonzero(before != after)
    return Exemplars(found, before[found], after[found], share_before[found], share_after[found])


def _most_frequent(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent class of each column, the lowest of equals, and its share."""
    # (models, n): how many models predict what this one does, for each example.
    votes = np.array([np.sum(predictions == row, axis=0) for row in predictions])
    most = votes.max(axis=0)
    candidates = np.where(votes == most, predictions, np.iinfo(np.int64).max)
    return candidates.min(axis=0), most / len(predictions)


def _predictions(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim != 2 or not found.size:
        raise ValueError(
            f"{caller}({argument} of shape {found.shape}) needs the shape (models, n)."
        )
    return classes(caller, argument, found.ravel()).reshape(found.shape)
