"""Coders: words to bytes and back, bit for bit; each array is stored by the smallest.

    FAST        plain, bitmask: decoded as fast as memory is copied; what `save` uses
    BALANCED    and rans, planes, runs, lines: entropy coders that decode 20 million
                words a second
    SMALLEST    and context, trellis, context_planes, which are adaptive and slow

A new coder is one file here, a line in `CODERS`, a row in the test table and a file
in the fuzzer's.
"""

from jaxcompress.core import exports
from jaxcompress.storage.coders.bitmask import bitmask as bitmask
from jaxcompress.storage.coders.choice import BALANCED as BALANCED
from jaxcompress.storage.coders.choice import CODERS as CODERS
from jaxcompress.storage.coders.choice import FAST as FAST
from jaxcompress.storage.coders.choice import SMALLEST as SMALLEST
from jaxcompress.storage.coders.coder import Coder as Coder
from jaxcompress.storage.coders.context import context as context
from jaxcompress.storage.coders.gaps import gaps as gaps
from jaxcompress.storage.coders.huffman import huffman as huffman
from jaxcompress.storage.coders.lines import lines as lines
from jaxcompress.storage.coders.plain import plain as plain
from jaxcompress.storage.coders.planes import context_planes as context_planes
from jaxcompress.storage.coders.planes import planes as planes
from jaxcompress.storage.coders.rans import rans as rans
from jaxcompress.storage.coders.runs import runs as runs
from jaxcompress.storage.coders.trellis import trellis as trellis

exports.list_imports(globals())
