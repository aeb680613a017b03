"""Solvers: one matrix pruned so that its outputs change least."""

from jaxcompress.core import exports
from jaxcompress.prune.solvers.alps import alps as alps
from jaxcompress.prune.solvers.least_squares import least_squares as least_squares
from jaxcompress.prune.solvers.least_squares import refitted as refitted
from jaxcompress.prune.solvers.solver import ColumnRounding as ColumnRounding
from jaxcompress.prune.solvers.solver import SparsitySolver as SparsitySolver
from jaxcompress.prune.solvers.sparsegpt import sparsegpt as sparsegpt
from jaxcompress.prune.solvers.surgeon import optimal_brain_surgeon as optimal_brain_surgeon

exports.list_imports(globals())
