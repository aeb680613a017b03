"""Training for those who have no loop yet: nothing else in the library needs it.

what is trained, and how    Recipe, objectives
a whole run                 fitting: traceable, folds and seeds in one program
                            private_fit, private_gradient, SubsampledGaussian
pure parts                  steps
"""

from jaxcompress.core import exports
from jaxcompress.train import objectives as objectives
from jaxcompress.train import steps as steps
from jaxcompress.train.fitting import fitting as fitting
from jaxcompress.train.private import SubsampledGaussian as SubsampledGaussian
from jaxcompress.train.private import private_fit as private_fit
from jaxcompress.train.private import private_gradient as private_gradient
from jaxcompress.train.recipe import Recipe as Recipe

exports.list_imports(globals())
