"""Training for those who have no loop yet: nothing else in the library needs it.

what a step does     Recipe, supervised, supervised_with_state
pure parts           initial, step, order, shuffled
a whole run          fitting (traceable: folds and seeds in one program), private_fit
"""

from jaxcompress.core import exports
from jaxcompress.train.fitting import fitting as fitting
from jaxcompress.train.objectives import Objective as Objective
from jaxcompress.train.objectives import supervised as supervised
from jaxcompress.train.objectives import supervised_with_state as supervised_with_state
from jaxcompress.train.order import order as order
from jaxcompress.train.order import shuffled as shuffled
from jaxcompress.train.private import SubsampledGaussian as SubsampledGaussian
from jaxcompress.train.private import private_fit as private_fit
from jaxcompress.train.private import private_gradient as private_gradient
from jaxcompress.train.recipe import Augment as Augment
from jaxcompress.train.recipe import Recipe as Recipe
from jaxcompress.train.step import State as State
from jaxcompress.train.step import initial as initial
from jaxcompress.train.step import step as step

exports.list_imports(globals())
