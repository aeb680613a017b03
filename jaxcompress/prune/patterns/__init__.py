"""Patterns: which weights may be pruned together, from single ones to whole heads."""

from jaxcompress.core import exports
from jaxcompress.prune.patterns.groups import n_of_m as n_of_m
from jaxcompress.prune.patterns.groups import padded as padded
from jaxcompress.prune.patterns.groups import within_groups as within_groups
from jaxcompress.prune.patterns.pattern import Pattern as Pattern
from jaxcompress.prune.patterns.pattern import unstructured as unstructured
from jaxcompress.prune.patterns.pattern import within_outputs as within_outputs
from jaxcompress.prune.patterns.structured import blocks as blocks
from jaxcompress.prune.patterns.structured import heads as heads
from jaxcompress.prune.patterns.structured import inputs as inputs
from jaxcompress.prune.patterns.structured import outputs as outputs
from jaxcompress.prune.patterns.structured import slices as slices

exports.list_imports(globals())
