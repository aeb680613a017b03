"""Leakage of data: what sets that must be apart have in common, features that leak.

the verb        check, of named sets in memory or in streams, gives a LeakageReport
what to look for exact, groups, times
which pairs     every_pair, between_sets
what is equal   stored, by_value, rounded, pixels, words
arrays          fingerprints
"""

from jaxcompress.core import exports
from jaxcompress.validate.leakage.canonical import by_value as by_value
from jaxcompress.validate.leakage.canonical import pixels as pixels
from jaxcompress.validate.leakage.canonical import rounded as rounded
from jaxcompress.validate.leakage.canonical import stored as stored
from jaxcompress.validate.leakage.canonical import words as words
from jaxcompress.validate.leakage.check import Check as Check
from jaxcompress.validate.leakage.check import Reading as Reading
from jaxcompress.validate.leakage.check import between_sets as between_sets
from jaxcompress.validate.leakage.check import check as check
from jaxcompress.validate.leakage.check import every_pair as every_pair
from jaxcompress.validate.leakage.exact import exact as exact
from jaxcompress.validate.leakage.exact import groups as groups
from jaxcompress.validate.leakage.findings import FeatureFinding as FeatureFinding
from jaxcompress.validate.leakage.findings import Finding as Finding
from jaxcompress.validate.leakage.findings import LeakageReport as LeakageReport
from jaxcompress.validate.leakage.fingerprints import fingerprints as fingerprints
from jaxcompress.validate.leakage.times import times as times

exports.list_imports(globals())
