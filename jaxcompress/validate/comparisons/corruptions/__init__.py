"""Corruptions of inputs, as pure functions `(key, inputs, severity) -> inputs`.

    images    noise, blur, contrast, brightness, occlusion, pixelate
    text      tokens_replaced

Severities may be traced, so that one compiled program serves all.
"""

from jaxcompress.core import exports
from jaxcompress.validate.comparisons.corruptions.graded import Corruption as Corruption
from jaxcompress.validate.comparisons.corruptions.graded import Graded as Graded
from jaxcompress.validate.comparisons.corruptions.graded import images as images
from jaxcompress.validate.comparisons.corruptions.pictures import blur as blur
from jaxcompress.validate.comparisons.corruptions.pictures import brightness as brightness
from jaxcompress.validate.comparisons.corruptions.pictures import contrast as contrast
from jaxcompress.validate.comparisons.corruptions.pictures import noise as noise
from jaxcompress.validate.comparisons.corruptions.pictures import occlusion as occlusion
from jaxcompress.validate.comparisons.corruptions.pictures import pixelate as pixelate
from jaxcompress.validate.comparisons.corruptions.text import tokens_replaced as tokens_replaced

exports.list_imports(globals())
