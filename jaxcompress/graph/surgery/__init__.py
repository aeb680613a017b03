"""Programs changed by what their axes mean: units, residual blocks and layers removed.

The one door through which other rooms change a program. Everything here takes
`fn(params, *inputs)` and gives functions of that form; the programs in between stay
inside. `graph.couplings` says which indices of which leaves go together.

    removal of units        masked, shrink, slice_params, zero_params, check_removal
    means of the removed    compensate, compensated
    gates on units          with_unit_gates, open_gates, reading
    residual blocks         residual_blocks, with_block_gates, without_blocks
    stacks of layers        stacks, with_layer_gates, without_layers
"""

# How it works: `walk` follows every axis through the program by the `axis_rules` of
# its primitives, on `dims` that are unified as facts are found; `writer` then runs the
# records of that walk once more, with arrays that lack indices (`arrays`) or equations
# that do something else.

from jaxcompress.core import exports
from jaxcompress.graph.surgery.blocks import ResidualBlock as ResidualBlock
from jaxcompress.graph.surgery.blocks import residual_blocks as residual_blocks
from jaxcompress.graph.surgery.blocks import with_block_gates as with_block_gates
from jaxcompress.graph.surgery.check import RemovalCheck as RemovalCheck
from jaxcompress.graph.surgery.check import check_removal as check_removal
from jaxcompress.graph.surgery.compensation import Compensated as Compensated
from jaxcompress.graph.surgery.compensation import Consumer as Consumer
from jaxcompress.graph.surgery.compensation import compensate as compensate
from jaxcompress.graph.surgery.compensation import compensated as compensated
from jaxcompress.graph.surgery.cutting import slice_params as slice_params
from jaxcompress.graph.surgery.cutting import zero_params as zero_params
from jaxcompress.graph.surgery.depth import without_blocks as without_blocks
from jaxcompress.graph.surgery.depth import without_layers as without_layers
from jaxcompress.graph.surgery.gates import open_gates as open_gates
from jaxcompress.graph.surgery.gates import reading as reading
from jaxcompress.graph.surgery.gates import with_unit_gates as with_unit_gates
from jaxcompress.graph.surgery.shrink import masked as masked
from jaxcompress.graph.surgery.shrink import shrink as shrink
from jaxcompress.graph.surgery.stacks import Stack as Stack
from jaxcompress.graph.surgery.stacks import Stacks as Stacks
from jaxcompress.graph.surgery.stacks import stacks as stacks
from jaxcompress.graph.surgery.stacks import with_layer_gates as with_layer_gates

exports.list_imports(globals())
