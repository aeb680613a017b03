"""Criteria: how weights are scored, by size, gradients or data."""

from jaxcompress.core import exports
from jaxcompress.prune.criteria.activations import wanda as wanda
from jaxcompress.prune.criteria.gradients import fisher as fisher
from jaxcompress.prune.criteria.gradients import gradient_momentum as gradient_momentum
from jaxcompress.prune.criteria.gradients import informed as informed
from jaxcompress.prune.criteria.gradients import movement as movement
from jaxcompress.prune.criteria.gradients import saliency as saliency
from jaxcompress.prune.criteria.gradients import taylor_squared as taylor_squared
from jaxcompress.prune.criteria.initialization import grasp as grasp
from jaxcompress.prune.criteria.initialization import snip as snip
from jaxcompress.prune.criteria.initialization import synflow as synflow
from jaxcompress.prune.criteria.weights import constant as constant
from jaxcompress.prune.criteria.weights import fresh_noise as fresh_noise
from jaxcompress.prune.criteria.weights import magnitude as magnitude
from jaxcompress.prune.criteria.weights import random as random
from jaxcompress.prune.criterion import Criterion as Criterion

exports.list_imports(globals())
