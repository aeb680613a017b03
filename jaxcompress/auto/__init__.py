"""Deciding what to compress by how much: how sensitive parts are, and mixed bits.

measured     sensitivity, cumulative_sensitivity
predicted    second_order or linearity, then predicted_sensitivity
decided      mixed_precision: a format for each leaf within a number of bytes
"""

from jaxcompress.auto.chosen_formats import ChosenFormat as ChosenFormat
from jaxcompress.auto.chosen_formats import MixedPrecision as MixedPrecision
from jaxcompress.auto.cumulative import CumulativeSensitivity as CumulativeSensitivity
from jaxcompress.auto.cumulative import Step as Step
from jaxcompress.auto.cumulative import cumulative_sensitivity as cumulative_sensitivity
from jaxcompress.auto.curvature import predicted_sensitivity as predicted_sensitivity
from jaxcompress.auto.linearity import linearity as linearity
from jaxcompress.auto.mixed_precision import mixed_precision as mixed_precision
from jaxcompress.auto.second_order import second_order as second_order
from jaxcompress.auto.sensitivity import sensitivity as sensitivity
from jaxcompress.core import exports

exports.list_imports(globals())
