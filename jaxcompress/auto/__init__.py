"""Deciding what to compress by how much. So far: how sensitive parts are.

measured     sensitivity, cumulative_sensitivity
predicted    second_order or linearity, then predicted_sensitivity
"""

from jaxcompress.auto.cumulative import CumulativeSensitivity as CumulativeSensitivity
from jaxcompress.auto.cumulative import Step as Step
from jaxcompress.auto.cumulative import cumulative_sensitivity as cumulative_sensitivity
from jaxcompress.auto.curvature import predicted_sensitivity as predicted_sensitivity
from jaxcompress.auto.linearity import linearity as linearity
from jaxcompress.auto.second_order import second_order as second_order
from jaxcompress.auto.sensitivity import sensitivity as sensitivity
from jaxcompress.core import exports

exports.list_imports(globals())
