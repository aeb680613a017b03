"""Adapters: small trainable parts beside a frozen model, of floats or of codes.

    methods      lora, dora; each an Adapter of seven functions
    starts       random, principal, from_error: what training begins with
    scale        alpha over the rank, or over_root(alpha)
    computed     view shows whole weights, run keeps thin products apart
    shipped      freeze, merge, recode

The adapters are a tree of their own, `{leaf name: {"left": …, "right": …}}`: what is
differentiated, what the optimizer moves, and what is saved alone.
"""

from jaxcompress.adapt import starts as starts
from jaxcompress.adapt.adapter import Adapter as Adapter
from jaxcompress.adapt.dora import dora as dora
from jaxcompress.adapt.lora import lora as lora
from jaxcompress.adapt.recode import recode as recode
from jaxcompress.adapt.run import run as run
from jaxcompress.adapt.scales import over_root as over_root
from jaxcompress.core import exports

exports.list_imports(globals())
