"""How many units are removed: of each family, or of all down to a budget.

`importance` scores the units.
"""

from jaxcompress.core import exports
from jaxcompress.structure.amounts.amount import Amount as Amount
from jaxcompress.structure.amounts.budgets import within_bytes as within_bytes
from jaxcompress.structure.amounts.budgets import within_macs as within_macs
from jaxcompress.structure.amounts.budgets import within_parameters as within_parameters
from jaxcompress.structure.amounts.latency import within_latency as within_latency
from jaxcompress.structure.amounts.shares import count as count
from jaxcompress.structure.amounts.shares import fraction as fraction
from jaxcompress.structure.amounts.thresholds import below as below

exports.list_imports(globals())
