"""Validation: disjoint splits, metrics, confidence intervals and paired tests.

    data          split, check_disjoint, leakage.check; folds in splits
    one recipe    cross_validate; pairs, choices, preprocessing in cross_validation
    one model     predict, evaluate with any of metrics
    two models    compare, verdict, compare_scores
    intervals     wilson, skewed_mean_interval, bootstrap_interval, paired_interval
    the page      Card, of what results' finding() gives

Nothing here knows how a model was compressed, and nothing here trains one.
"""

from jaxcompress.core import exports
from jaxcompress.core.labels import counted as counted
from jaxcompress.validate import cards as cards
from jaxcompress.validate import comparisons as comparisons
from jaxcompress.validate import cross_validation as cross_validation
from jaxcompress.validate import leakage as leakage
from jaxcompress.validate import membership as membership
from jaxcompress.validate import metrics as metrics
from jaxcompress.validate import privacy as privacy
from jaxcompress.validate import shift as shift
from jaxcompress.validate import splits as splits
from jaxcompress.validate.cards.card import Card as Card
from jaxcompress.validate.cards.findings import Figure as Figure
from jaxcompress.validate.cards.findings import Finding as Finding
from jaxcompress.validate.compare import Comparison as Comparison
from jaxcompress.validate.compare import compare as compare
from jaxcompress.validate.compare import verdict as verdict
from jaxcompress.validate.compare_scores import ScoreComparison as ScoreComparison
from jaxcompress.validate.compare_scores import compare_scores as compare_scores
from jaxcompress.validate.cross_validation.run import cross_validate as cross_validate
from jaxcompress.validate.evaluate import evaluate as evaluate
from jaxcompress.validate.evaluate import predict as predict
from jaxcompress.validate.examples import Examples as Examples
from jaxcompress.validate.intervals import bootstrap_interval as bootstrap_interval
from jaxcompress.validate.intervals import mean_interval as mean_interval
from jaxcompress.validate.intervals import paired_interval as paired_interval
from jaxcompress.validate.intervals import wilson as wilson
from jaxcompress.validate.logits import agreement as agreement
from jaxcompress.validate.logits import correct as correct
from jaxcompress.validate.logits import cross_entropy as cross_entropy
from jaxcompress.validate.overlap import check_disjoint as check_disjoint
from jaxcompress.validate.results import Evaluation as Evaluation
from jaxcompress.validate.scores import Score as Score
from jaxcompress.validate.skewed import skewed_mean_interval as skewed_mean_interval
from jaxcompress.validate.splits.parts import split as split

exports.list_imports(globals())
