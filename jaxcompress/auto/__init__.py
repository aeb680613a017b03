"""Deciding what to compress by how much. So far: how sensitive leaves are."""

from jaxcompress.auto.cumulative import CumulativeSensitivity as CumulativeSensitivity
from jaxcompress.auto.cumulative import Step as Step
from jaxcompress.auto.cumulative import cumulative_sensitivity as cumulative_sensitivity
from jaxcompress.auto.sensitivity import LeafSensitivity as LeafSensitivity
from jaxcompress.auto.sensitivity import sensitivity as sensitivity
from jaxcompress.core import exports

exports.list_imports(globals())
