"""From a framework's model to `(fn, params, train_fn)`, and back.

`linen`, `nnx`, `equinox` and `haiku` are loaded when first touched: they are the only
modules that import a framework.
"""

import importlib
import importlib.util
import typing

from jaxcompress.bridges.agreement import Shrunk as Shrunk
from jaxcompress.bridges.functional import Functional as Functional
from jaxcompress.bridges.sizes import Size as Size
from jaxcompress.bridges.sizes import SizeReport as SizeReport
from jaxcompress.core import exports

if typing.TYPE_CHECKING:
    from jaxcompress.bridges import equinox as equinox
    from jaxcompress.bridges import haiku as haiku
    from jaxcompress.bridges import linen as linen
    from jaxcompress.bridges import nnx as nnx

_FRAMEWORKS = {"equinox": "equinox", "haiku": "haiku", "linen": "flax", "nnx": "flax"}


def __getattr__(name: str) -> typing.Any:
    if name in _FRAMEWORKS:
        return importlib.import_module(f"jaxcompress.bridges.{name}")
    raise AttributeError(f"module 'jaxcompress.bridges' has no attribute {name!r}")


_INSTALLED = [name for name, needed in _FRAMEWORKS.items() if importlib.util.find_spec(needed)]

exports.list_imports(globals(), lazily=_INSTALLED)
