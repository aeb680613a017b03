"""Membership inference: whether a model gives away which examples it was trained on.

    signals       scaled_confidence, log_probability, label_probability, correctness;
                  of sequences token_log_likelihood, min_k
    attacks       from signals to one score per example
    judgement     audit, control, needed_others

Every signal and every attack gives one number per example; a higher one means a member.
"""

from jaxcompress.core import exports
from jaxcompress.validate.membership import attacks as attacks
from jaxcompress.validate.membership.audit import audit as audit
from jaxcompress.validate.membership.audit import control as control
from jaxcompress.validate.membership.audit import needed_others as needed_others
from jaxcompress.validate.membership.results import Audit as Audit
from jaxcompress.validate.membership.results import Found as Found
from jaxcompress.validate.membership.signals import correctness as correctness
from jaxcompress.validate.membership.signals import label_probability as label_probability
from jaxcompress.validate.membership.signals import log_probability as log_probability
from jaxcompress.validate.membership.signals import min_k as min_k
from jaxcompress.validate.membership.signals import scaled_confidence as scaled_confidence
from jaxcompress.validate.membership.signals import token_log_likelihood as token_log_likelihood

exports.list_imports(globals())
