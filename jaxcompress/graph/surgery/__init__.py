"""Programs changed by what their axes mean: units, residual blocks and layers removed.

The one door through which other rooms change a program. Everything here works on
`fn(params, *inputs)` and gives a function of the same form. `graph.couplings` says
which indices of which leaves go together.
"""

from jaxcompress.graph.surgery.check import RemovalCheck as RemovalCheck
from jaxcompress.graph.surgery.check import check_removal as check_removal
from jaxcompress.graph.surgery.compensation import Compensated as Compensated
from jaxcompress.graph.surgery.compensation import Consumer as Consumer
from jaxcompress.graph.surgery.compensation import compensate as compensate
from jaxcompress.graph.surgery.shrink import masked as masked
from jaxcompress.graph.surgery.shrink import shrink as shrink
from jaxcompress.graph.surgery.shrink import slice_params as slice_params
from jaxcompress.graph.surgery.shrink import zero_params as zero_params
