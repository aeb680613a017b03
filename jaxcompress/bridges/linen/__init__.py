"""Flax Linen: a module and its variables as `(fn, params, train_fn)`.

After a removal the module has to be built anew, since it keeps its sizes in fields:
which ones, whether a module built anew is right, and building it where its own fields
are all.
"""

from jaxcompress.bridges.linen.models import functional as functional
from jaxcompress.bridges.linen.removal import check_rebuilt as check_rebuilt
from jaxcompress.bridges.linen.removal import shrunk as shrunk
from jaxcompress.bridges.linen.removal import sizes as sizes
from jaxcompress.core import exports

exports.list_imports(globals())
