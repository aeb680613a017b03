"""The pure parts of a run: one step, its state, and which examples it meets."""

from jaxcompress.core import exports
from jaxcompress.train.steps.order import order as order
from jaxcompress.train.steps.order import shuffled as shuffled
from jaxcompress.train.steps.step import State as State
from jaxcompress.train.steps.step import initial as initial
from jaxcompress.train.steps.step import step as step

exports.list_imports(globals())
