"""Knowledge distillation: losses that train a student on what a teacher answers.

A loss gives one number per example and is never reduced. Training loops, means and the
teacher's forward pass belong to the caller. Where some examples have no label, as
padding, `ignore=` gives them the loss 0 and `counted` says which are left to divide by;
it serves losses without labels too:

    counts = counted(labels, ignore=-100)
    losses = distill.outputs.soft_targets(logits, teacher_logits)
    loss = jnp.sum(losses, where=counts) / counts.sum()
"""

from jaxcompress.core import exports
from jaxcompress.core.labels import counted as counted
from jaxcompress.distill import ensembles as ensembles
from jaxcompress.distill import features as features
from jaxcompress.distill import outputs as outputs
from jaxcompress.distill import projections as projections
from jaxcompress.distill import relations as relations
from jaxcompress.distill import sequences as sequences
from jaxcompress.distill import students as students
from jaxcompress.distill import synthesis as synthesis
from jaxcompress.distill import weighting as weighting
from jaxcompress.distill.learned import LearnedLoss as LearnedLoss
from jaxcompress.distill.mixing import mix as mix

exports.list_imports(globals())
