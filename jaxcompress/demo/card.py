"""The demo's validation card: what its figures show, and what nobody tested."""

import pathlib
from collections.abc import Sequence

import numpy as np

from jaxcompress.demo.data import Images, Splits
from jaxcompress.demo.proof import Proof
from jaxcompress.demo.variants import BATCH, CALIBRATION_IMAGES, Variant
from jaxcompress.validate import Card, cards, leakage, membership, predict, shift

AUDITED_IMAGES = 1000
"""Most images of either side that the membership audit looks at."""
RATE = 0.01
"""False positives at which the audit counts members found."""
CLASS_MARGIN = 0.05
"""A digit answered worse than the others by so much is one too many."""


def card(
    variants: Sequence[Variant],
    proofs: dict[str, Proof],
    splits: Splits,
    drawn: str,
    folder: pathlib.Path,
) -> Card:
    """Collects what was shown of every variant on the test images.

    Args:
      variants: the dense model first; their files lie in `folder`.
      proofs: the figures of each variant, by name.
      splits: the images.
      drawn: how the three sets were drawn, in words.
      folder: holds the files.

    Returns:
      Card; the same seed gives the same one.
    """
    sets = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    uses = {
        "train": f"trained on; the first {CALIBRATION_IMAGES} calibrated",
        "validation": "the sensitivity of each layer",
        "test": "kept apart from training, calibration and every choice",
    }
    page = Card(
        f"jaxcompress demo on {splits.source}",
        tuple(cards.model_record(each.name, folder / each.file_name) for each in variants),
        tuple(
            cards.data_record(
                name, (each.images, each.labels), origin=f"{splits.source}, {drawn}; {uses[name]}"
            )
            for name, each in sets.items()
        ),
    )
    looked_for = leakage.exact(canonical=leakage.pixels)
    found = leakage.check(
        {name: each.images for name, each in sets.items()},
        [looked_for],
        pairs=leakage.between_sets,
    )
    page = page.adding(found, about="train, validation and test")
    for variant in variants:
        page = page.adding(*_of(variant, proofs, splits), about=f"{variant.name} on test")
    return page


def _of(variant: Variant, proofs: dict[str, Proof], splits: Splits) -> list[cards.Found]:
    proof = proofs[variant.name]
    found: list[cards.Found] = [proof.evaluation]
    if proof is not next(iter(proofs.values())):
        found.append(proof.comparison)
    # A class of one image cannot be judged; the card then lists groups as not tested.
    counts = np.unique(splits.test.labels, return_counts=True)[1]
    if counts.size > 1 and counts.min() > 1:
        accuracy = proof.evaluation["accuracy"]
        found.append(shift.subgroups(accuracy, splits.test.labels, margin=CLASS_MARGIN))
    return [*found, _audit(variant, splits)]


def _audit(variant: Variant, splits: Splits) -> membership.Audit:
    """Whether confidence alone tells images that were trained on from test images."""
    sides = [each[:AUDITED_IMAGES] for each in (splits.train, splits.test)]
    scores = [_confidence(variant, each) for each in sides]
    members = np.repeat([True, False], [len(each) for each in sides])
    rate = max(RATE, 1 / len(sides[1]))
    return membership.audit(np.concatenate(scores), members, rates=(rate,))


def _confidence(variant: Variant, images: Images) -> np.ndarray:
    logits = predict(variant.fn, variant.shipped.params, images.images, batch_size=BATCH)
    return np.asarray(membership.scaled_confidence(logits, images.labels))
