"""Training for those who have no loop yet: nothing else in the library needs it."""

from jaxcompress.core import exports

exports.list_imports(globals())
