"""Losses on what the model answers: per example, never reduced."""

from jaxcompress.core import exports
from jaxcompress.distill.outputs.targets import hard_targets as hard_targets
from jaxcompress.distill.outputs.targets import soft_targets as soft_targets

exports.list_imports(globals())
