"""Training for those who have no loop yet: nothing else in the library needs it.

what is trained, and how    Recipe, objectives, augment
a whole run                 fit, with Plan, Watch and Checkpoints
                            fitting: traceable, folds and seeds in one program
                            private_fit, private_gradient, SubsampledGaussian
pure parts                  steps
outputs of a teacher        teacher_cache: computed once, kept on disk
"""

from jaxcompress.core import exports
from jaxcompress.train import augment as augment
from jaxcompress.train import objectives as objectives
from jaxcompress.train import steps as steps
from jaxcompress.train import teacher_cache as teacher_cache
from jaxcompress.train.fit import Fitted as Fitted
from jaxcompress.train.fit import fit as fit
from jaxcompress.train.fitting import fitting as fitting
from jaxcompress.train.plan import Checkpoints as Checkpoints
from jaxcompress.train.plan import Plan as Plan
from jaxcompress.train.plan import Watch as Watch
from jaxcompress.train.private import SubsampledGaussian as SubsampledGaussian
from jaxcompress.train.private import private_fit as private_fit
from jaxcompress.train.private import private_gradient as private_gradient
from jaxcompress.train.recipe import Recipe as Recipe

exports.list_imports(globals())
