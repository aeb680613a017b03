"""Cross-validation of recipes: scores by fold, their intervals, pairs and choices.

    recipes       Candidate of a fit and an evaluate, such as evaluating gives;
                  prepared, with standardize or another Preparation
    one           validate.cross_validate gives a CrossValidation
    two           compare_folds gives a FoldComparison
    a choice      nested_cross_validate gives a NestedCrossValidation
    statistics    corrected_interval

A recipe is all that is done to training examples: preprocessing, training, compression.
What is validated is the recipe, not one model.
"""

from jaxcompress.core import exports
from jaxcompress.validate.cross_validation.candidate import Candidate as Candidate
from jaxcompress.validate.cross_validation.candidate import evaluating as evaluating
from jaxcompress.validate.cross_validation.nesting import (
    NestedCrossValidation as NestedCrossValidation,
)
from jaxcompress.validate.cross_validation.nesting import (
    nested_cross_validate as nested_cross_validate,
)
from jaxcompress.validate.cross_validation.paired import FoldComparison as FoldComparison
from jaxcompress.validate.cross_validation.paired import compare_folds as compare_folds
from jaxcompress.validate.cross_validation.preparation import Preparation as Preparation
from jaxcompress.validate.cross_validation.preparation import prepared as prepared
from jaxcompress.validate.cross_validation.preparation import standardize as standardize
from jaxcompress.validate.cross_validation.results import CrossValidation as CrossValidation
from jaxcompress.validate.cross_validation.statistics import (
    corrected_interval as corrected_interval,
)

exports.list_imports(globals())
