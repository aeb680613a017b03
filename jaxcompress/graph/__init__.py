"""The model as a program: sites, axes, replacements, readings, cost, removals."""

from jaxcompress.graph.calibrate import calibrate as calibrate
from jaxcompress.graph.check import RemovalCheck as RemovalCheck
from jaxcompress.graph.check import check_removal as check_removal
from jaxcompress.graph.compensation import Compensated as Compensated
from jaxcompress.graph.compensation import Consumer as Consumer
from jaxcompress.graph.compensation import compensate as compensate
from jaxcompress.graph.cost import CompiledCost as CompiledCost
from jaxcompress.graph.cost import Cost as Cost
from jaxcompress.graph.cost import SiteCost as SiteCost
from jaxcompress.graph.cost import compiled as compiled
from jaxcompress.graph.cost import cost as cost
from jaxcompress.graph.couplings import Couplings as Couplings
from jaxcompress.graph.couplings import Family as Family
from jaxcompress.graph.couplings import couplings as couplings
from jaxcompress.graph.observe import observe as observe
from jaxcompress.graph.program import Program as Program
from jaxcompress.graph.program import axes as axes
from jaxcompress.graph.program import trace as trace
from jaxcompress.graph.removal import Removal as Removal
from jaxcompress.graph.rewrite import Replacement as Replacement
from jaxcompress.graph.rewrite import rewrite as rewrite
from jaxcompress.graph.shrink import masked as masked
from jaxcompress.graph.shrink import shrink as shrink
from jaxcompress.graph.shrink import slice_params as slice_params
from jaxcompress.graph.shrink import zero_params as zero_params
from jaxcompress.graph.sites import Site as Site
