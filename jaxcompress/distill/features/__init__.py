"""Losses on features, what layers compute: per example, never reduced.

Features come from `graph.capture`, or are what the user's models return.
"""

from jaxcompress.core import exports
from jaxcompress.distill.features.alignment import cka as cka
from jaxcompress.distill.features.alignment import cka_distance as cka_distance
from jaxcompress.distill.features.attention import attention_transfer as attention_transfer
from jaxcompress.distill.features.differences import cosine_distance as cosine_distance
from jaxcompress.distill.features.differences import squared_error as squared_error
from jaxcompress.distill.features.factors import FactorTransfer as FactorTransfer
from jaxcompress.distill.features.factors import factor_transfer as factor_transfer
from jaxcompress.distill.features.hints import projected as projected
from jaxcompress.distill.features.review import hierarchical_context as hierarchical_context
from jaxcompress.distill.features.review import review as review
from jaxcompress.distill.features.tokens import attention_maps as attention_maps
from jaxcompress.distill.features.tokens import token_relations as token_relations
from jaxcompress.distill.features.variational import (
    variational_information as variational_information,
)

exports.list_imports(globals())
