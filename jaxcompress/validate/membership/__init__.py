"""Membership inference: whether a model gives away which examples it was trained on.

    signals       scaled_confidence, log_probability, label_probability, correctness;
                  of sequences token_log_likelihood, min_k
    asking        augmented, averaged, noise_distance, versions
    shadows       halves, shadows, leave_one_out
    attacks       from signals to one score per example
    judgement     audit, control, needed_others

Every signal and every attack gives one number per example; a higher one means a member.
"""

from jaxcompress.core import exports
from jaxcompress.validate.membership import attacks as attacks
from jaxcompress.validate.membership.audit import audit as audit
from jaxcompress.validate.membership.audit import control as control
from jaxcompress.validate.membership.audit import needed_others as needed_others
from jaxcompress.validate.membership.queries import Signal as Signal
from jaxcompress.validate.membership.queries import augmented as augmented
from jaxcompress.validate.membership.queries import averaged as averaged
from jaxcompress.validate.membership.queries import noise_distance as noise_distance
from jaxcompress.validate.membership.queries import versions as versions
from jaxcompress.validate.membership.results import Audit as Audit
from jaxcompress.validate.membership.results import Found as Found
from jaxcompress.validate.membership.shadow_record import Shadows as Shadows
from jaxcompress.validate.membership.shadows import halves as halves
from jaxcompress.validate.membership.shadows import shadows as shadows
from jaxcompress.validate.membership.signals import correctness as correctness
from jaxcompress.validate.membership.signals import label_probability as label_probability
from jaxcompress.validate.membership.signals import log_probability as log_probability
from jaxcompress.validate.membership.signals import min_k as min_k
from jaxcompress.validate.membership.signals import scaled_confidence as scaled_confidence
from jaxcompress.validate.membership.signals import token_log_likelihood as token_log_likelihood
from jaxcompress.validate.membership.targets import Attack as Attack
from jaxcompress.validate.membership.targets import Attacked as Attacked
from jaxcompress.validate.membership.targets import leave_one_out as leave_one_out

exports.list_imports(globals())
