"""Leakage of data: what sets that must be apart have in common, features that leak."""

from jaxcompress.core import exports

exports.list_imports(globals())
