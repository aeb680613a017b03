"""Training for those who have no loop yet: nothing else in the library needs it."""

from jaxcompress.core import exports
from jaxcompress.train.private import SubsampledGaussian as SubsampledGaussian
from jaxcompress.train.private import private_fit as private_fit
from jaxcompress.train.private import private_gradient as private_gradient

exports.list_imports(globals())
