"""Losses from a teacher: what a student should answer, per example and never reduced.

Training loops and the teacher's forward pass belong to the caller.
"""

from jaxcompress.core.labels import counted as counted
from jaxcompress.distill.losses import hard_targets as hard_targets
from jaxcompress.distill.losses import mix as mix
from jaxcompress.distill.losses import soft_targets as soft_targets
