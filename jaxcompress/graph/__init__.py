"""The model as a program: where weights meet data, and what can be done there.

A model is traced once to JAX's own program. Each weight is followed from its leaf to
its *sites*, the dots, convolutions and gathers in which it meets data; everything else
here works on them.

    what is there        trace, axes
    statistics           observe (of rows or windows), calibrate over batches
    values at sites      capture, inputs, outputs
    other outputs        rewrite
    count                cost, compiled
    what goes together   couplings; surgery removes it
    what may be moved    symmetries
"""

# To read this room in order:
#   program       `trace`: the program, its sites and products; `axes` of leaves
#   jaxprs        what is read from jaxprs, and how JAX releases differ in them
#   origins       where a value comes from: data, a leaf with known axes, or neither
#   provenance    follows it through one equation; `value_axes` through shapes
#   meetings      which operand of an equation is a weight; `layouts` how data lie
#   formulas      what an einsum says of its dot; `products` names data times data
#   steps         the walk over all equations, into calls, loops and branches
#   sites         `Site`: what is known of one place
#   interpret     runs a program with handlers at sites; `rebuild` calls and loops
#   choice        which sites patterns of rules choose; `entrances` which meet inputs
#   then what is done at sites: rewrite, observe, calibrate, capture, cost, surgery,
#   symmetries

from jaxcompress.core import exports
from jaxcompress.graph import surgery as surgery
from jaxcompress.graph import symmetries as symmetries
from jaxcompress.graph.calibrate import calibrate as calibrate
from jaxcompress.graph.capture import capture as capture
from jaxcompress.graph.capture import inputs as inputs
from jaxcompress.graph.capture import outputs as outputs
from jaxcompress.graph.cost import CompiledCost as CompiledCost
from jaxcompress.graph.cost import Cost as Cost
from jaxcompress.graph.cost import SiteCost as SiteCost
from jaxcompress.graph.cost import compiled as compiled
from jaxcompress.graph.cost import cost as cost
from jaxcompress.graph.observe import observe as observe
from jaxcompress.graph.observe import rows as rows
from jaxcompress.graph.observe import windows as windows
from jaxcompress.graph.program import Program as Program
from jaxcompress.graph.program import axes as axes
from jaxcompress.graph.program import trace as trace
from jaxcompress.graph.rewrite import Replacement as Replacement
from jaxcompress.graph.rewrite import rewrite as rewrite
from jaxcompress.graph.sites import Site as Site
from jaxcompress.graph.surgery.couplings import Couplings as Couplings
from jaxcompress.graph.surgery.couplings import couplings as couplings
from jaxcompress.graph.surgery.divisors import Divisors as Divisors
from jaxcompress.graph.surgery.families import Family as Family
from jaxcompress.graph.surgery.removal import Removal as Removal

exports.list_imports(globals())
