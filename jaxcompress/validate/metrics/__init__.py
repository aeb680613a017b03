"""Metrics: figures that judge a model's outputs against targets.

    classes           accuracy, top_k, balanced_accuracy
    probabilities     cross_entropy
    one's own         loss, mean_of, Metric with Mean

Each is called on outputs and targets, or given to `validate.evaluate`.
"""

from jaxcompress.core import exports
from jaxcompress.validate.metrics.classes import accuracy as accuracy
from jaxcompress.validate.metrics.classes import balanced_accuracy as balanced_accuracy
from jaxcompress.validate.metrics.classes import top_k as top_k
from jaxcompress.validate.metrics.metric import Mean as Mean
from jaxcompress.validate.metrics.metric import Metric as Metric
from jaxcompress.validate.metrics.metric import loss as loss
from jaxcompress.validate.metrics.metric import mean_of as mean_of
from jaxcompress.validate.metrics.probabilities import cross_entropy as cross_entropy

exports.list_imports(globals())
