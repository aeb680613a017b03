"""What each primitive does to axes, and what shrinking them changes in it."""

from jaxcompress.graph.surgery.axis_rules.table import RULES as RULES
from jaxcompress.graph.surgery.axis_rules.table import rule_of as rule_of
