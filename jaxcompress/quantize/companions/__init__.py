"""Steps that are trained beside the weights which they round."""

from jaxcompress.core import exports
from jaxcompress.quantize.companions.learned_rate import learned_rate as learned_rate

exports.list_imports(globals())
