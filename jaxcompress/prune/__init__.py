"""Which weights go: criteria, patterns, allocation, the optax wrapper, one-shot."""

from jaxcompress.core.criterion import Criterion as Criterion
from jaxcompress.prune.allocation import Allocation as Allocation
from jaxcompress.prune.allocation import globally as globally
from jaxcompress.prune.allocation import uniform as uniform
from jaxcompress.prune.criteria import magnitude as magnitude
from jaxcompress.prune.one_shot import Removed as Removed
from jaxcompress.prune.one_shot import masks as masks
from jaxcompress.prune.one_shot import one_shot as one_shot
from jaxcompress.prune.one_shot import sparsity_of as sparsity_of
from jaxcompress.prune.patterns import Pattern as Pattern
from jaxcompress.prune.patterns import unstructured as unstructured
from jaxcompress.prune.transform import PruneState as PruneState
from jaxcompress.prune.transform import apply as apply
from jaxcompress.prune.transform import check as check
from jaxcompress.prune.transform import masks_of as masks_of
from jaxcompress.prune.transform import prune as prune
