"""Changes of params that leave the function unchanged, derived from the program."""

from jaxcompress.core import exports

exports.list_imports(globals())
