"""Distillation on sequences: generation, on-policy mixes, losses of whole sequences.

tokens       any loss of `outputs` gives one number a token; over_tokens, a sequence
generate     greedy, at_temperature, among_top; uncached for models without a cache
on-policy    student_share, mixed_logits, reverse_kl_policy
"""

from jaxcompress.core import exports
from jaxcompress.distill.sequences.generation import Generated as Generated
from jaxcompress.distill.sequences.generation import generate as generate
from jaxcompress.distill.sequences.generation import uncached as uncached
from jaxcompress.distill.sequences.policies import mixed_logits as mixed_logits
from jaxcompress.distill.sequences.policies import over_tokens as over_tokens
from jaxcompress.distill.sequences.policies import reverse_kl_policy as reverse_kl_policy
from jaxcompress.distill.sequences.policies import student_share as student_share
from jaxcompress.distill.sequences.sampling import among_top as among_top
from jaxcompress.distill.sequences.sampling import at_temperature as at_temperature
from jaxcompress.distill.sequences.sampling import greedy as greedy

exports.list_imports(globals())
