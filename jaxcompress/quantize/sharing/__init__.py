"""Weight sharing: leaves whose entries are a few numbers, and what says which.

k-means    k_means, whose levels begin at one of starts; share, by importance
"""

from jaxcompress.core import exports
from jaxcompress.quantize.sharing import starts as starts
from jaxcompress.quantize.sharing.k_means import k_means as k_means
from jaxcompress.quantize.sharing.share import share as share

exports.list_imports(globals())
