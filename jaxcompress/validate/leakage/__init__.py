"""Leakage of data: what sets that must be apart have in common, features that leak.

    the verb         check, of named sets in memory or in streams: a LeakageReport
    equal            exact, groups; by stored, by_value, rounded, pixels, words
    nearly equal     near_images, near_texts, near_rows, near_vectors
    in time          times
    the target       features; by variance_explained, separation, information
    which pairs      every_pair, between_sets
    of images        phash, dhash; shifts, flips
    of texts         characters, word_runs
    calibration      Shared, where compare may judge on calibration data
    arrays           fingerprints

Leakage of training data by a model is in `membership` and `privacy`.
"""

from jaxcompress.core import exports
from jaxcompress.validate.leakage.calibration import Shared as Shared
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
from jaxcompress.validate.leakage.fingerprints import fingerprints as fingerprints
from jaxcompress.validate.leakage.image_hashes import dhash as dhash
from jaxcompress.validate.leakage.image_hashes import flips as flips
from jaxcompress.validate.leakage.image_hashes import phash as phash
from jaxcompress.validate.leakage.image_hashes import shifts as shifts
from jaxcompress.validate.leakage.images import near_images as near_images
from jaxcompress.validate.leakage.reports import LeakageReport as LeakageReport
from jaxcompress.validate.leakage.reports import LeakingFeature as LeakingFeature
from jaxcompress.validate.leakage.reports import Overlap as Overlap
from jaxcompress.validate.leakage.shingles import characters as characters
from jaxcompress.validate.leakage.shingles import word_runs as word_runs
from jaxcompress.validate.leakage.single import Binned as Binned
from jaxcompress.validate.leakage.single import information as information
from jaxcompress.validate.leakage.single import separation as separation
from jaxcompress.validate.leakage.single import variance_explained as variance_explained
from jaxcompress.validate.leakage.tables import near_rows as near_rows
from jaxcompress.validate.leakage.targets import features as features
from jaxcompress.validate.leakage.texts import near_texts as near_texts
from jaxcompress.validate.leakage.times import times as times
from jaxcompress.validate.leakage.vectors import near_vectors as near_vectors

exports.list_imports(globals())
