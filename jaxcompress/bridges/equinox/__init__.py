"""Equinox: a module as `(fn, params, train_fn)`, and back to a module.

After a removal it is a smaller module, whose static fields say its sizes.
"""

from jaxcompress.bridges.equinox.calls import Call as Call
from jaxcompress.bridges.equinox.calls import each_example as each_example
from jaxcompress.bridges.equinox.calls import each_example_with_state as each_example_with_state
from jaxcompress.bridges.equinox.models import functional as functional
from jaxcompress.bridges.equinox.models import stateful as stateful
from jaxcompress.bridges.equinox.removal import shrunk as shrunk
from jaxcompress.bridges.equinox.removal import shrunk_stateful as shrunk_stateful
from jaxcompress.core import exports

exports.list_imports(globals())
