"""Smaller arrays: fewer units and layers, low rank, and training that prepares.

importance/   what a unit, layer or block is worth
amounts/      how many units go
ranks         which rank each weight gets
penalties     optax transformations that push whole units towards 0
"""

from jaxcompress.structure import amounts as amounts
from jaxcompress.structure import importance as importance
from jaxcompress.structure import penalties as penalties
from jaxcompress.structure import ranks as ranks
from jaxcompress.structure.cut import Cut as Cut
from jaxcompress.structure.decomposition import Decomposition as Decomposition
from jaxcompress.structure.depth import Shallower as Shallower
from jaxcompress.structure.depth import Stack as Stack
from jaxcompress.structure.depth import exact_layers as exact_layers
from jaxcompress.structure.depth import remove_layers as remove_layers
from jaxcompress.structure.depth import skippable as skippable
from jaxcompress.structure.depth import stacks as stacks
from jaxcompress.structure.gating import gated as gated
from jaxcompress.structure.iterative import Rounds as Rounds
from jaxcompress.structure.iterative import iterative as iterative
from jaxcompress.structure.low_rank import factorize as factorize
from jaxcompress.structure.plan import plan as plan
from jaxcompress.structure.planned import FamilyPlan as FamilyPlan
from jaxcompress.structure.planned import RemovalPlan as RemovalPlan
from jaxcompress.structure.remove import RemovalReport as RemovalReport
from jaxcompress.structure.remove import SmallerModel as SmallerModel
from jaxcompress.structure.remove import remove as remove
from jaxcompress.structure.residual import Block as Block
from jaxcompress.structure.residual import Bypassed as Bypassed
from jaxcompress.structure.residual import blocks as blocks
from jaxcompress.structure.residual import bypassable as bypassable
from jaxcompress.structure.residual import exact_blocks as exact_blocks
from jaxcompress.structure.residual import remove_blocks as remove_blocks
from jaxcompress.structure.run import Factors as Factors
from jaxcompress.structure.run import close_factors as close_factors
from jaxcompress.structure.run import open_factors as open_factors
from jaxcompress.structure.run import run_low_rank as run_low_rank
