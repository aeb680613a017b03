"""Tests of a candidate against a reference: differences, equivalence, power, damage.

is there a difference        mcnemar, permutation_test, paired_bootstrap, compare_auc
is it ruled out              equivalence, equivalence_of_means
many candidates at once      holm and its like, max_t, simultaneous_intervals
cost beside quality          tradeoffs
how many examples it takes   required_examples of claims, check_examples
"""

from jaxcompress.core import exports
from jaxcompress.validate.comparisons import claims as claims
from jaxcompress.validate.comparisons import corruptions as corruptions
from jaxcompress.validate.comparisons.auc import AUCComparison as AUCComparison
from jaxcompress.validate.comparisons.auc import auc_covariance as auc_covariance
from jaxcompress.validate.comparisons.auc import auc_interval as auc_interval
from jaxcompress.validate.comparisons.auc import compare_auc as compare_auc
from jaxcompress.validate.comparisons.calibration import CalibrationDrift as CalibrationDrift
from jaxcompress.validate.comparisons.calibration import Drift as Drift
from jaxcompress.validate.comparisons.calibration import calibration_drift as calibration_drift
from jaxcompress.validate.comparisons.claims import Claim as Claim
from jaxcompress.validate.comparisons.corrections import benjamini_hochberg as benjamini_hochberg
from jaxcompress.validate.comparisons.corrections import benjamini_yekutieli as benjamini_yekutieli
from jaxcompress.validate.comparisons.corrections import bonferroni as bonferroni
from jaxcompress.validate.comparisons.corrections import hochberg as hochberg
from jaxcompress.validate.comparisons.corrections import holm as holm
from jaxcompress.validate.comparisons.damage import Changes as Changes
from jaxcompress.validate.comparisons.damage import ClassDamage as ClassDamage
from jaxcompress.validate.comparisons.damage import DamageTable as DamageTable
from jaxcompress.validate.comparisons.damage import changes as changes
from jaxcompress.validate.comparisons.damage import class_damage as class_damage
from jaxcompress.validate.comparisons.equivalence import Equivalence as Equivalence
from jaxcompress.validate.comparisons.equivalence import equivalence as equivalence
from jaxcompress.validate.comparisons.equivalence import (
    equivalence_of_means as equivalence_of_means,
)
from jaxcompress.validate.comparisons.exemplars import Exemplars as Exemplars
from jaxcompress.validate.comparisons.exemplars import (
    compression_identified_exemplars as compression_identified_exemplars,
)
from jaxcompress.validate.comparisons.fidelity import Fidelity as Fidelity
from jaxcompress.validate.comparisons.fidelity import cosine as cosine
from jaxcompress.validate.comparisons.fidelity import divergence as divergence
from jaxcompress.validate.comparisons.fidelity import fidelity as fidelity
from jaxcompress.validate.comparisons.fidelity import top_k_overlap as top_k_overlap
from jaxcompress.validate.comparisons.layers import LayerFidelity as LayerFidelity
from jaxcompress.validate.comparisons.layers import layer_fidelity as layer_fidelity
from jaxcompress.validate.comparisons.paired import Difference as Difference
from jaxcompress.validate.comparisons.paired import mcnemar as mcnemar
from jaxcompress.validate.comparisons.paired import mcnemar_mid_p as mcnemar_mid_p
from jaxcompress.validate.comparisons.paired import paired_bootstrap as paired_bootstrap
from jaxcompress.validate.comparisons.paired import permutation_test as permutation_test
from jaxcompress.validate.comparisons.power import Sufficiency as Sufficiency
from jaxcompress.validate.comparisons.power import check_examples as check_examples
from jaxcompress.validate.comparisons.power import required_examples as required_examples
from jaxcompress.validate.comparisons.power import sufficiency as sufficiency
from jaxcompress.validate.comparisons.robustness import Robustness as Robustness
from jaxcompress.validate.comparisons.robustness import RobustnessTable as RobustnessTable
from jaxcompress.validate.comparisons.robustness import robustness as robustness
from jaxcompress.validate.comparisons.simultaneous import max_t as max_t
from jaxcompress.validate.comparisons.simultaneous import (
    simultaneous_intervals as simultaneous_intervals,
)
from jaxcompress.validate.comparisons.tradeoffs import Tradeoff as Tradeoff
from jaxcompress.validate.comparisons.tradeoffs import Tradeoffs as Tradeoffs
from jaxcompress.validate.comparisons.tradeoffs import tradeoffs as tradeoffs

exports.list_imports(globals())
