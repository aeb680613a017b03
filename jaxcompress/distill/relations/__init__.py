"""Losses on how the examples of a batch relate: each example's share, never reduced.

The mean of the shares is the loss of the batch. A share depends on the whole batch: to
leave an example out, leave it out of the batch.
"""

from jaxcompress.core import exports
from jaxcompress.distill.relations.contrastive import Bank as Bank
from jaxcompress.distill.relations.contrastive import Contrastive as Contrastive
from jaxcompress.distill.relations.contrastive import contrastive as contrastive
from jaxcompress.distill.relations.geometry import relative_angles as relative_angles
from jaxcompress.distill.relations.geometry import relative_distances as relative_distances
from jaxcompress.distill.relations.probabilities import (
    probabilistic_transfer as probabilistic_transfer,
)
from jaxcompress.distill.relations.similarities import (
    correlation_congruence as correlation_congruence,
)
from jaxcompress.distill.relations.similarities import (
    similarity_preserving as similarity_preserving,
)

exports.list_imports(globals())
