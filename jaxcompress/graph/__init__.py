"""The model as a program: sites, axes, replacements, readings, cost, removals."""

from jaxcompress.graph import surgery as surgery
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
from jaxcompress.graph.surgery.couplings import Family as Family
from jaxcompress.graph.surgery.couplings import couplings as couplings
from jaxcompress.graph.surgery.divisors import Divisors as Divisors
from jaxcompress.graph.surgery.removal import Removal as Removal
