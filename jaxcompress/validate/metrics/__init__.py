"""Metrics: figures that judge a model's outputs against targets.

    classes           accuracy, top_k, agreement
    confusion         balanced_accuracy, precision, recall, f1, macro_f1, matthews
    several labels    micro_f1
    probabilities     cross_entropy, brier, kl_divergence
    calibration       calibration_error, adaptive_calibration_error
    ranking           roc_auc, macro_roc_auc, average_precision
    tokens            perplexity
    numbers           mean_squared_error, root_mean_squared_error,
                      mean_absolute_error, max_error, r2
    order             spearman, kendall
    one's own         loss, mean_of, Metric with Mean

Each is called on outputs and targets, or given to `validate.evaluate`.
"""

from jaxcompress.core import exports
from jaxcompress.validate.metrics.calibration import (
    adaptive_calibration_error as adaptive_calibration_error,
)
from jaxcompress.validate.metrics.calibration import calibration_error as calibration_error
from jaxcompress.validate.metrics.classes import accuracy as accuracy
from jaxcompress.validate.metrics.classes import agreement as agreement
from jaxcompress.validate.metrics.classes import top_k as top_k
from jaxcompress.validate.metrics.confusion import balanced_accuracy as balanced_accuracy
from jaxcompress.validate.metrics.confusion import f1 as f1
from jaxcompress.validate.metrics.confusion import macro_f1 as macro_f1
from jaxcompress.validate.metrics.confusion import matthews as matthews
from jaxcompress.validate.metrics.confusion import micro_f1 as micro_f1
from jaxcompress.validate.metrics.confusion import precision as precision
from jaxcompress.validate.metrics.confusion import recall as recall
from jaxcompress.validate.metrics.correlations import kendall as kendall
from jaxcompress.validate.metrics.correlations import spearman as spearman
from jaxcompress.validate.metrics.metric import Mean as Mean
from jaxcompress.validate.metrics.metric import Metric as Metric
from jaxcompress.validate.metrics.metric import loss as loss
from jaxcompress.validate.metrics.metric import mean_of as mean_of
from jaxcompress.validate.metrics.probabilities import brier as brier
from jaxcompress.validate.metrics.probabilities import cross_entropy as cross_entropy
from jaxcompress.validate.metrics.probabilities import kl_divergence as kl_divergence
from jaxcompress.validate.metrics.ranking import average_precision as average_precision
from jaxcompress.validate.metrics.ranking import macro_roc_auc as macro_roc_auc
from jaxcompress.validate.metrics.ranking import roc_auc as roc_auc
from jaxcompress.validate.metrics.regression import max_error as max_error
from jaxcompress.validate.metrics.regression import mean_absolute_error as mean_absolute_error
from jaxcompress.validate.metrics.regression import mean_squared_error as mean_squared_error
from jaxcompress.validate.metrics.regression import r2 as r2
from jaxcompress.validate.metrics.regression import (
    root_mean_squared_error as root_mean_squared_error,
)
from jaxcompress.validate.metrics.tokens import perplexity as perplexity

exports.list_imports(globals())
