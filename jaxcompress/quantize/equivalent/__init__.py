"""Transforms that leave the function unchanged and make its weights easier to round."""

from jaxcompress.core import exports

exports.list_imports(globals())
