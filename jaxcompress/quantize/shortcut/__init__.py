"""The shortcut: what it composes, and what it says of it."""

from jaxcompress.core import exports
from jaxcompress.quantize.shortcut.post_training import Members as Members
from jaxcompress.quantize.shortcut.results import PostTraining as PostTraining
from jaxcompress.quantize.shortcut.results import Trial as Trial

exports.list_imports(globals())
