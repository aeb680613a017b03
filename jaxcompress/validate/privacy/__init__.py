"""Privacy beyond membership: canaries, attributes, and lower bounds on epsilon."""

from jaxcompress.core import exports

exports.list_imports(globals())
