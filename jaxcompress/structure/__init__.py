"""Smaller arrays: fewer units and layers, low rank, and training that prepares.

    units, heads, channels    remove, in rounds iterative; plan changes nothing
    layers and blocks         remove_layers, remove_blocks
    again, from a file        replay
    low rank                  factorize, run_low_rank, open_factors; ranks
    what is removed           Cut: importance scores, amounts say how many
    before it                 penalties that push whole units towards 0

What a removal gives computes what the model without those units does, and runs faster.
"""

from jaxcompress.core import exports
from jaxcompress.structure import amounts as amounts
from jaxcompress.structure import importance as importance
from jaxcompress.structure import penalties as penalties
from jaxcompress.structure import ranks as ranks
from jaxcompress.structure.cut import Cut as Cut
from jaxcompress.structure.decomposition import Decomposition as Decomposition
from jaxcompress.structure.iterative import Rounds as Rounds
from jaxcompress.structure.iterative import iterative as iterative
from jaxcompress.structure.low_rank import factorize as factorize
from jaxcompress.structure.parts import DepthReport as DepthReport
from jaxcompress.structure.plan import plan as plan
from jaxcompress.structure.planned import FamilyPlan as FamilyPlan
from jaxcompress.structure.planned import RemovalPlan as RemovalPlan
from jaxcompress.structure.remove import RemovalReport as RemovalReport
from jaxcompress.structure.remove import remove as remove
from jaxcompress.structure.remove_blocks import remove_blocks as remove_blocks
from jaxcompress.structure.remove_layers import remove_layers as remove_layers
from jaxcompress.structure.replay import Replayed as Replayed
from jaxcompress.structure.replay import replay as replay
from jaxcompress.structure.run import Factors as Factors
from jaxcompress.structure.run import close_factors as close_factors
from jaxcompress.structure.run import open_factors as open_factors
from jaxcompress.structure.run import run_low_rank as run_low_rank
from jaxcompress.structure.smaller import SmallerModel as SmallerModel

exports.list_imports(globals())
