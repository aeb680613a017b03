"""Observers: what is measured of the data that meet a weight.

The module of `core`, by the name that users type.
"""

import sys

from jaxcompress.core import observers
from jaxcompress.core.observers import *

sys.modules[__name__] = observers
