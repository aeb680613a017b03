"""Pruning: which weights are set to zero, in training and after it.

    while training    prune, regrow, hold; views, companions, penalties
    after training    one_shot, masks; reconstruct, woodfisher with solvers
    in rounds         iterative, lottery
    what is chosen    Target: criteria, patterns, allocations
    to check          masks_of, apply, check, sparsity_of, sensitivity

Every criterion goes with every pattern, allocation and schedule.
"""

from jaxcompress.core import exports
from jaxcompress.prune import allocations as allocations
from jaxcompress.prune import companions as companions
from jaxcompress.prune import criteria as criteria
from jaxcompress.prune import lottery as lottery
from jaxcompress.prune import patterns as patterns
from jaxcompress.prune import penalties as penalties
from jaxcompress.prune import shares as shares
from jaxcompress.prune import solvers as solvers
from jaxcompress.prune import views as views
from jaxcompress.prune.lottery import iterative as iterative
from jaxcompress.prune.post_training.fisher_blocks import FisherBlocks as FisherBlocks
from jaxcompress.prune.post_training.one_shot import Sparsities as Sparsities
from jaxcompress.prune.post_training.one_shot import masks as masks
from jaxcompress.prune.post_training.one_shot import one_shot as one_shot
from jaxcompress.prune.post_training.one_shot import sparsity_of as sparsity_of
from jaxcompress.prune.post_training.trials import sensitivity as sensitivity
from jaxcompress.prune.post_training.woodfisher import woodfisher as woodfisher
from jaxcompress.prune.reconstruction import reconstruct as reconstruct
from jaxcompress.prune.target import Target as Target
from jaxcompress.prune.training.holding import hold as hold
from jaxcompress.prune.training.regrowth import Growth as Growth
from jaxcompress.prune.training.regrowth import regrow as regrow
from jaxcompress.prune.training.state import PruneState as PruneState
from jaxcompress.prune.training.state import apply as apply
from jaxcompress.prune.training.state import check as check
from jaxcompress.prune.training.state import masks_of as masks_of
from jaxcompress.prune.training.transform import prune as prune

exports.list_imports(globals())
