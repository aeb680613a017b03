"""Tests of a candidate against a reference: differences, equivalence, power, damage."""

from jaxcompress.core import exports

exports.list_imports(globals())
