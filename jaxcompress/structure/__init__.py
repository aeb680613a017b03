"""Smaller arrays: low rank, and training that prepares the removal of whole units."""

from jaxcompress.structure.decomposition import Decomposition as Decomposition
from jaxcompress.structure.low_rank import factorize as factorize
from jaxcompress.structure.penalties import group_lasso as group_lasso
from jaxcompress.structure.penalties import proximal_group_lasso as proximal_group_lasso
from jaxcompress.structure.penalties import scale_l1 as scale_l1
from jaxcompress.structure.ranks import Ranks as Ranks
from jaxcompress.structure.ranks import at_most as at_most
from jaxcompress.structure.ranks import budget as budget
from jaxcompress.structure.ranks import energy as energy
from jaxcompress.structure.ranks import parameters as parameters
from jaxcompress.structure.run import Factors as Factors
from jaxcompress.structure.run import close_factors as close_factors
from jaxcompress.structure.run import open_factors as open_factors
from jaxcompress.structure.run import run_low_rank as run_low_rank
