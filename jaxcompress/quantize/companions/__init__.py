"""What is trained beside weights and stored in their place: steps, random codes."""

from jaxcompress.core import exports
from jaxcompress.quantize.companions.learned_rate import learned_rate as learned_rate
from jaxcompress.quantize.companions.random_codes import RandomCodes as RandomCodes
from jaxcompress.quantize.companions.random_codes import random_codes as random_codes

exports.list_imports(globals())
