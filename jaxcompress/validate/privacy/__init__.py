"""Privacy beyond membership: canaries, attributes, and lower bounds on epsilon."""

from jaxcompress.core import exports
from jaxcompress.validate.privacy.account import epsilon as epsilon
from jaxcompress.validate.privacy.account import noise_multiplier as noise_multiplier
from jaxcompress.validate.privacy.attributes import AttributeAudit as AttributeAudit
from jaxcompress.validate.privacy.attributes import attribute_audit as attribute_audit
from jaxcompress.validate.privacy.attributes import candidate_losses as candidate_losses
from jaxcompress.validate.privacy.canaries import Canaries as Canaries
from jaxcompress.validate.privacy.canaries import insert_canaries as insert_canaries
from jaxcompress.validate.privacy.canaries import random_canaries as random_canaries
from jaxcompress.validate.privacy.exposure import Exposures as Exposures
from jaxcompress.validate.privacy.exposure import exposure as exposure
from jaxcompress.validate.privacy.exposure import extrapolated_exposure as extrapolated_exposure
from jaxcompress.validate.privacy.exposure import log_perplexities as log_perplexities
from jaxcompress.validate.privacy.exposure import sampled_exposure as sampled_exposure
from jaxcompress.validate.privacy.guesses import one_run_bound as one_run_bound
from jaxcompress.validate.privacy.guesses import one_run_p_value as one_run_p_value
from jaxcompress.validate.privacy.one_run import OneRunAudit as OneRunAudit
from jaxcompress.validate.privacy.one_run import one_run_audit as one_run_audit
from jaxcompress.validate.privacy.rates import RateAudit as RateAudit
from jaxcompress.validate.privacy.rates import rate_audit as rate_audit
from jaxcompress.validate.privacy.versions import VersionsAudit as VersionsAudit
from jaxcompress.validate.privacy.versions import versions_audit as versions_audit

exports.list_imports(globals())
