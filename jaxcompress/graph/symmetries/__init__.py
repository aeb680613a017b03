"""Changes of params that leave the function unchanged, derived from the program.

rotations    dims that any orthogonal matrix may turn, since leaves absorb it; rotate
             turns one, random_matrix draws the matrix
"""

from jaxcompress.core import exports
from jaxcompress.graph.symmetries.applying import rotate as rotate
from jaxcompress.graph.symmetries.matrices import random_matrix as random_matrix
from jaxcompress.graph.symmetries.rotations import Blocked as Blocked
from jaxcompress.graph.symmetries.rotations import Fold as Fold
from jaxcompress.graph.symmetries.rotations import Rotation as Rotation
from jaxcompress.graph.symmetries.rotations import Rotations as Rotations
from jaxcompress.graph.symmetries.rotations import rotations as rotations

exports.list_imports(globals())
