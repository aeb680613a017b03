"""Number formats: what one code stands for, what shares a scale, how it is stored.

`fixed_point`, `mxfp4` and `nvfp4` fix what shares a scale; all others take the keyword
arguments of `Keywords`: `per`, `group_size`, `block` and `scales`.
"""

from jaxcompress.core import exports
from jaxcompress.quantize.formats.integers import fixed_point as fixed_point
from jaxcompress.quantize.formats.integers import int2 as int2
from jaxcompress.quantize.formats.integers import int3 as int3
from jaxcompress.quantize.formats.integers import int4 as int4
from jaxcompress.quantize.formats.integers import int5 as int5
from jaxcompress.quantize.formats.integers import int6 as int6
from jaxcompress.quantize.formats.integers import int7 as int7
from jaxcompress.quantize.formats.integers import int8 as int8
from jaxcompress.quantize.formats.integers import uint2 as uint2
from jaxcompress.quantize.formats.integers import uint3 as uint3
from jaxcompress.quantize.formats.integers import uint4 as uint4
from jaxcompress.quantize.formats.integers import uint5 as uint5
from jaxcompress.quantize.formats.integers import uint6 as uint6
from jaxcompress.quantize.formats.integers import uint7 as uint7
from jaxcompress.quantize.formats.integers import uint8 as uint8
from jaxcompress.quantize.formats.keywords import Keywords as Keywords
from jaxcompress.quantize.formats.tables import binary as binary
from jaxcompress.quantize.formats.tables import codebook as codebook
from jaxcompress.quantize.formats.tables import fp4 as fp4
from jaxcompress.quantize.formats.tables import fp8_e4m3 as fp8_e4m3
from jaxcompress.quantize.formats.tables import fp8_e5m2 as fp8_e5m2
from jaxcompress.quantize.formats.tables import mxfp4 as mxfp4
from jaxcompress.quantize.formats.tables import nf4 as nf4
from jaxcompress.quantize.formats.tables import nvfp4 as nvfp4
from jaxcompress.quantize.formats.tables import power_of_two as power_of_two
from jaxcompress.quantize.formats.tables import table as table
from jaxcompress.quantize.formats.tables import ternary as ternary

exports.list_imports(globals())
