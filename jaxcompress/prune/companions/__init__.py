"""Scores, gates and noise, trained beside weights, that decide which ones stay."""

from jaxcompress.core import exports
from jaxcompress.prune.companions.gates import l0_gates as l0_gates
from jaxcompress.prune.companions.movement import hard_movement as hard_movement
from jaxcompress.prune.companions.movement import soft_movement as soft_movement
from jaxcompress.prune.companions.variational import variational_dropout as variational_dropout

exports.list_imports(globals())
