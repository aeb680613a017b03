"""Three tests of new inputs against the reference in one call, corrected together."""

import dataclasses
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.shift.arguments import standardizer, two_sets
from jaxcompress.validate.shift.classifier import ClassifierTest, classifier_test
from jaxcompress.validate.shift.features import FeatureShift, kolmogorov_smirnov
from jaxcompress.validate.shift.kernels import KernelTest, kernel_test, linear_kernel_test
from jaxcompress.validate.shift.stability import NO_PROOF

MOST_PAIRED = 4000
"""Examples in both sets together beyond which the kernel test is the linear one."""


@dataclasses.dataclass(frozen=True)
class Drift(Result):
    """Three tests of whether new inputs come from the reference's distribution.

    Args:
      features: Kolmogorov-Smirnov of each feature.
      kernel: the kernel two-sample test.
      classifier: the classifier two-sample test.
      p: of the three in this order, corrected together by Holm.
      confidence: 1 - the chance of any false alarm.
    """

    features: FeatureShift
    kernel: KernelTest
    classifier: ClassifierTest
    p: tuple[float, float, float]
    confidence: float

    @property
    def shifted(self) -> bool:
        """Whether any test finds a difference."""
        return min(self.p) <= 1 - self.confidence

    def finding(self) -> Finding:
        """For a card: whether any test finds that the new inputs differ."""
        names = ("single features", "kernel test", "classifier test")
        found = [name for name, p in zip(names, self.p, strict=True) if p <= 1 - self.confidence]
        said = f"differ, by: {', '.join(found)}." if found else "are not shown to differ."
        return Finding(
            "input shift",
            f"{self.features.m:,} new inputs against {self.features.n:,} of the reference {said}",
            (
                Figure("features that moved", int(self.features.shifted.sum()), format="d"),
                Figure(
                    "told apart by a network",
                    self.classifier.accuracy,
                    self.classifier.interval,
                    format=".1%",
                ),
                *(
                    Figure(f"p of {name}, corrected", p, format=".2g")
                    for name, p in zip(names, self.p, strict=True)
                ),
            ),
            FAILS if found else UNDECIDED,
            () if found else (NO_PROOF,),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return {
            "features": self.features.to_json(),
            "kernel": self.kernel.to_json(),
            "classifier": self.classifier.to_json(),
            "p": list(self.p),
            "confidence": self.confidence,
        }


def drift(
    reference: ArrayLike, new: ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> Drift:
    """Tests whether new inputs, or outputs, come from the reference's distribution.

    Not for: whether answers got worse, which takes labels; take `external`.

    By single features (`kolmogorov_smirnov`), by a kernel (`kernel_test`, beyond 4,000
    examples in all `linear_kernel_test`) and by a network (`classifier_test`, by its
    AUC, which sees more than its accuracy); their p-values are corrected together. For
    the kernel features are divided by their standard deviation in all examples. Where a
    set of up to 2,000 meets a larger one, so that both are beyond 4,000, `kernel_test`
    takes the small one and as many of the other as make 4,000, at random.

    Also known as: data drift, covariate shift detection, dataset shift.

    Args:
      reference: (n, ...), real and finite, n at least 4: training inputs, or what the
        model gives for them.
      new: (m, ...), of the same features, m at least 4.
      confidence: 1 - the chance that any test alarms where there is no shift.
      seed: of the permutations and of the halves.

    Returns:
      The three tests. That they find nothing proves nothing: their power grows with n
      and m, as `benchmarks/README.md` tabulates.

    Raises:
      TypeError: the sets are no numbers.
      ValueError: sets of different features, fewer than four examples, a value that is
        not finite, an option out of range.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> reference, new = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
      >>> jc.validate.shift.drift(reference, new + 1).shifted
      True

    Source: as of the three tests; their comparison as detectors of shift in Rabanser et
    al. 2019, arXiv:1810.11953.
    """
    first, second = two_sets("drift", reference, new)
    confidence = check_confidence("drift", confidence)
    seed = check_count("drift", "seed", seed, least=0)
    if min(len(first), len(second)) < 4:
        raise ValueError(
            f"drift(reference of {len(first)} examples, new of {len(second)}) needs four or more "
            "in both."
        )
    features = kolmogorov_smirnov(first, second, confidence=confidence)
    scaled = standardizer(np.concatenate([first, second]))
    kernel = _by_kernel(scaled(first), scaled(second), seed)
    classifier = classifier_test(first, second, seed=seed)
    p = holm([features.adjusted.min(), kernel.p, classifier.auc_p])
    return Drift(features, kernel, classifier, (float(p[0]), float(p[1]), float(p[2])), confidence)


def _by_kernel(first: np.ndarray, second: np.ndarray, seed: int) -> KernelTest:
    """The test of all pairs wherever one set is small, else that of as many pairs."""
    small = min(len(first), len(second))
    if 2 * small > MOST_PAIRED:
        return linear_kernel_test(first, second, seed=seed)
    rng = np.random.default_rng(seed)
    most = max(MOST_PAIRED - small, small)
    first, second = (
        each if len(each) <= most else each[np.sort(rng.choice(len(each), most, replace=False))]
        for each in (first, second)
    )
    return kernel_test(first, second, seed=seed)
