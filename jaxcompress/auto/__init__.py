"""Deciding what to compress by how much. So far: how sensitive each leaf is."""

from jaxcompress.auto.sensitivity import LeafSensitivity as LeafSensitivity
from jaxcompress.auto.sensitivity import sensitivity as sensitivity
from jaxcompress.core import exports

exports.list_imports(globals())
