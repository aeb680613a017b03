"""Changes of params that leave the function unchanged, derived from the program.

scalings     factors per channel that may move between leaves; scale moves them
rotations    dims that any orthogonal matrix may turn, since leaves absorb it; rotate
             turns one, random_matrix draws the matrix; untied gives tied tables a
             second leaf, so that scales fold into them
"""

# Of scalings: `degrees` says what every equation does to factors, `solving` which of
# them are free.

from jaxcompress.core import exports
from jaxcompress.graph.symmetries.applying import rotate as rotate
from jaxcompress.graph.symmetries.channels import Move as Move
from jaxcompress.graph.symmetries.matrices import random_matrix as random_matrix
from jaxcompress.graph.symmetries.rotations import Blocked as Blocked
from jaxcompress.graph.symmetries.rotations import Fold as Fold
from jaxcompress.graph.symmetries.rotations import Rotation as Rotation
from jaxcompress.graph.symmetries.rotations import Rotations as Rotations
from jaxcompress.graph.symmetries.rotations import rotations as rotations
from jaxcompress.graph.symmetries.scalings import Scaling as Scaling
from jaxcompress.graph.symmetries.scalings import Scalings as Scalings
from jaxcompress.graph.symmetries.scalings import scale as scale
from jaxcompress.graph.symmetries.scalings import scalings as scalings
from jaxcompress.graph.symmetries.untying import untied as untied

exports.list_imports(globals())
