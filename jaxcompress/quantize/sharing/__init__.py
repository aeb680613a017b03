"""Weight sharing: leaves whose entries are a few numbers, and what says which.

k-means        k_means, whose levels begin at one of starts; share, by importance
fine-tuning    centroids: codes stay, levels are trained
training       learned_codebooks: weights and levels; soft_sharing: a mixture prior
vectors        product, whose codes stand for several weights each, by Vectors
hashing        hash_weights: a hash of its place says which number an entry is
"""

from jaxcompress.core import exports
from jaxcompress.quantize.sharing import starts as starts
from jaxcompress.quantize.sharing.centroids import centroids as centroids
from jaxcompress.quantize.sharing.hashed import hash_weights as hash_weights
from jaxcompress.quantize.sharing.k_means import k_means as k_means
from jaxcompress.quantize.sharing.learned import learned_codebooks as learned_codebooks
from jaxcompress.quantize.sharing.product import Vectors as Vectors
from jaxcompress.quantize.sharing.product import product as product
from jaxcompress.quantize.sharing.share import share as share
from jaxcompress.quantize.sharing.soft import Gamma as Gamma
from jaxcompress.quantize.sharing.soft import Mixture as Mixture
from jaxcompress.quantize.sharing.soft import soft_sharing as soft_sharing

exports.list_imports(globals())
