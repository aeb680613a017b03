"""Attacks: one score per example from a target's signals, higher = member.

no models beside     loss_threshold, uncalibrated, quantile_regression
some models          rmia with rmia_offset, calibrated, shadow_classifier
shadow models        lira_online, lira_offline
several versions     lira_joint
"""

from jaxcompress.core import exports
from jaxcompress.validate.membership.attacks.calibrated import calibrated as calibrated
from jaxcompress.validate.membership.attacks.joint import lira_joint as lira_joint
from jaxcompress.validate.membership.attacks.lira import lira_offline as lira_offline
from jaxcompress.validate.membership.attacks.lira import lira_online as lira_online
from jaxcompress.validate.membership.attacks.quantile import (
    quantile_regression as quantile_regression,
)
from jaxcompress.validate.membership.attacks.rmia import rmia as rmia
from jaxcompress.validate.membership.attacks.rmia import rmia_offset as rmia_offset
from jaxcompress.validate.membership.attacks.shadow_classifier import (
    shadow_classifier as shadow_classifier,
)
from jaxcompress.validate.membership.attacks.threshold import Decisions as Decisions
from jaxcompress.validate.membership.attacks.threshold import loss_threshold as loss_threshold
from jaxcompress.validate.membership.attacks.threshold import uncalibrated as uncalibrated
from jaxcompress.validate.membership.attacks.variances import (
    moderated_variance as moderated_variance,
)
from jaxcompress.validate.membership.attacks.variances import own_variance as own_variance
from jaxcompress.validate.membership.attacks.variances import shared_variance as shared_variance
from jaxcompress.validate.membership.attacks.variances import variance_by_count as variance_by_count

exports.list_imports(globals())
