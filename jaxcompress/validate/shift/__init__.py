"""How far new data lie from training data, and which groups a model serves worse.

labelled new data   external, with proportion_difference_interval and others
groups              subgroups
inputs              drift; population_stability, kolmogorov_smirnov, kernel_test,
linear_kernel_test, classifier_test
predictions         category_stability, label_shift
"""

from jaxcompress.core import exports
from jaxcompress.validate.shift.classifier import ClassifierTest as ClassifierTest
from jaxcompress.validate.shift.classifier import classifier_test as classifier_test
from jaxcompress.validate.shift.differences import (
    mean_difference_interval as mean_difference_interval,
)
from jaxcompress.validate.shift.differences import (
    proportion_difference_interval as proportion_difference_interval,
)
from jaxcompress.validate.shift.features import FeatureShift as FeatureShift
from jaxcompress.validate.shift.features import kolmogorov_smirnov as kolmogorov_smirnov
from jaxcompress.validate.shift.group_results import Group as Group
from jaxcompress.validate.shift.group_results import Subgroups as Subgroups
from jaxcompress.validate.shift.groups import subgroups as subgroups
from jaxcompress.validate.shift.inputs import Drift as Drift
from jaxcompress.validate.shift.inputs import drift as drift
from jaxcompress.validate.shift.kernels import KernelTest as KernelTest
from jaxcompress.validate.shift.kernels import kernel_test as kernel_test
from jaxcompress.validate.shift.kernels import linear_kernel_test as linear_kernel_test
from jaxcompress.validate.shift.labels import LabelShift as LabelShift
from jaxcompress.validate.shift.labels import label_shift as label_shift
from jaxcompress.validate.shift.sources import External as External
from jaxcompress.validate.shift.sources import external as external
from jaxcompress.validate.shift.stability import Stability as Stability
from jaxcompress.validate.shift.stability import category_stability as category_stability
from jaxcompress.validate.shift.stability import population_stability as population_stability

exports.list_imports(globals())
