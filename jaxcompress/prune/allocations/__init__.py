"""Allocations: how a sparsity is divided among leaves."""

from jaxcompress.core import exports
from jaxcompress.prune.allocations.layerwise import erk as erk
from jaxcompress.prune.allocations.layerwise import lamp as lamp
from jaxcompress.prune.allocations.layerwise import outliers as outliers
from jaxcompress.prune.allocations.sensitivity import Sensitivity as Sensitivity
from jaxcompress.prune.allocations.sensitivity import by_sensitivity as by_sensitivity
from jaxcompress.prune.allocations.thresholds import below as below
from jaxcompress.prune.allocations.thresholds import below_deviations as below_deviations
from jaxcompress.prune.allocations.thresholds import floored as floored
from jaxcompress.prune.allocations.totals import Allocation as Allocation
from jaxcompress.prune.allocations.totals import globally as globally
from jaxcompress.prune.allocations.totals import globally_normalized as globally_normalized
from jaxcompress.prune.allocations.totals import uniform as uniform

exports.list_imports(globals())
