"""Several models as one: mixtures of answers, means of weights, cascades.

answers    fit_weights, mixture, mixed
weights    average, greedy_soup
cascade    fit_cascade, then cascade (in a jitted step) or answer (over a data set)
"""

from jaxcompress.core import exports
from jaxcompress.distill.ensembles.averaging import Soup as Soup
from jaxcompress.distill.ensembles.averaging import average as average
from jaxcompress.distill.ensembles.averaging import greedy_soup as greedy_soup
from jaxcompress.distill.ensembles.cascades import Answers as Answers
from jaxcompress.distill.ensembles.cascades import answer as answer
from jaxcompress.distill.ensembles.cascades import cascade as cascade
from jaxcompress.distill.ensembles.confidences import largest_probability as largest_probability
from jaxcompress.distill.ensembles.confidences import margin as margin
from jaxcompress.distill.ensembles.confidences import negative_entropy as negative_entropy
from jaxcompress.distill.ensembles.mixtures import fit_weights as fit_weights
from jaxcompress.distill.ensembles.mixtures import mixed as mixed
from jaxcompress.distill.ensembles.mixtures import mixture as mixture
from jaxcompress.distill.ensembles.thresholds import CascadeFit as CascadeFit
from jaxcompress.distill.ensembles.thresholds import fit_cascade as fit_cascade

exports.list_imports(globals())
