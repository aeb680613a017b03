"""Splits for cross-validation: lists of folds, each two arrays of indices.

    each example tested once    k_fold, stratified_k_fold, grouped_k_fold,
                                stratified_grouped_k_fold, leave_one_out
    later examples tested       time_ordered
    drawn anew each time        holdout, repeated
    two levels                  nested
    what others split           listed: scikit-learn's splitters, lists of indices

Those that scikit-learn has give its indices under the same seed. `validate.split` gives
training, validation and test sets once.
"""

from jaxcompress.core import exports
from jaxcompress.validate.splits.fold import Fold as Fold
from jaxcompress.validate.splits.fold import NestedFold as NestedFold
from jaxcompress.validate.splits.grouped import grouped_k_fold as grouped_k_fold
from jaxcompress.validate.splits.grouped import (
    stratified_grouped_k_fold as stratified_grouped_k_fold,
)
from jaxcompress.validate.splits.k_fold import k_fold as k_fold
from jaxcompress.validate.splits.k_fold import leave_one_out as leave_one_out
from jaxcompress.validate.splits.k_fold import stratified_k_fold as stratified_k_fold
from jaxcompress.validate.splits.listed import listed as listed
from jaxcompress.validate.splits.nesting import nested as nested
from jaxcompress.validate.splits.random_draws import holdout as holdout
from jaxcompress.validate.splits.random_draws import repeated as repeated
from jaxcompress.validate.splits.time_order import time_ordered as time_ordered

exports.list_imports(globals())
