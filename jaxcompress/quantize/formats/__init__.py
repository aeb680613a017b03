"""Number formats: what one code stands for, and how many weights share a scale."""

from jaxcompress.quantize.formats.integers import int4 as int4
from jaxcompress.quantize.formats.integers import int8 as int8
from jaxcompress.quantize.formats.integers import uint4 as uint4
from jaxcompress.quantize.formats.integers import uint8 as uint8
