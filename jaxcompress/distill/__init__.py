"""Losses from a teacher: what a student should answer, per example and never reduced.

Training loops, means and the teacher's forward pass belong to the caller. Where some
examples have no label, as padding, `ignore=` gives them the loss 0 and `counted` says
which are left to divide by; it serves losses without labels too:

    counts = counted(labels, ignore=-100)
    loss = jnp.sum(soft_targets(logits, teacher_logits), where=counts) / counts.sum()
"""

from jaxcompress.core.labels import counted as counted
from jaxcompress.distill.losses import hard_targets as hard_targets
from jaxcompress.distill.losses import mix as mix
from jaxcompress.distill.losses import soft_targets as soft_targets
