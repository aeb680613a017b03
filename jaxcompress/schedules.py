"""Schedules of a sparsity, and of the steps at which something happens.

The module of `core`, by the name that users type.
"""

import sys

from jaxcompress.core import schedules
from jaxcompress.core.schedules import *

sys.modules[__name__] = schedules
