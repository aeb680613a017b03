"""How far new data lie from training data, and which groups a model serves worse."""

from jaxcompress.core import exports

exports.list_imports(globals())
