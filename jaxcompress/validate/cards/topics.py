"""What can be tested of a model: the question, the call that answers it, what it takes.

A card lists every topic without a finding as not tested.
"""

from typing import NamedTuple

from jaxcompress.core.kinds import check_text
from jaxcompress.core.messages import shown


class Topic(NamedTuple):
    """One thing that can be tested.

    Attributes:
      name: as findings give it.
      question: that the test answers, in plain words.
      call: what answers it, after `jaxcompress.`.
      takes: what has to be there for the test.
    """

    name: str
    question: str
    call: str
    takes: str


TOPICS = (
    Topic(
        "held-out performance",
        "How good are its answers on examples that nothing was fitted to or chosen by?",
        "validate.evaluate",
        "labelled examples kept apart from training, calibration and every choice",
    ),
    Topic(
        "cross-validation",
        "Does the recipe work on other draws of the data, or on this one alone?",
        "validate.cross_validate",
        "the recipe as a function and the time for one training per fold",
    ),
    Topic(
        "external data",
        "Are its answers as good on data from another source?",
        "validate.shift.external",
        "a labelled set from another place, device or time",
    ),
    Topic(
        "input shift",
        "Do new inputs look like those that it was trained on?",
        "validate.shift.drift",
        "inputs of training and new inputs; labels are not needed",
    ),
    Topic(
        "subgroups",
        "Is a group of examples served worse than the rest?",
        "validate.shift.subgroups",
        "the group of each test example, and some hundred examples per group",
    ),
    Topic(
        "calibration",
        "When it says 80 %, is it right in 80 % of cases?",
        "validate.metrics.calibration_error",
        "labelled examples kept apart from training",
    ),
    Topic(
        "robustness",
        "Do its answers survive noise and small corruptions of the input?",
        "validate.comparisons.robustness",
        "labelled examples kept apart from training",
    ),
    Topic(
        "comparison with the original",
        "Is it as good as the model it was made from, within a margin set beforehand?",
        "validate.compare",
        "both models' answers on the same examples",
    ),
    Topic(
        "damage",
        "Which answers changed, and which classes were hurt most?",
        "validate.comparisons.class_damage",
        "both models' answers on the same labelled examples",
    ),
    Topic(
        "data leakage",
        "Do training, calibration and test sets share examples, groups or the target itself?",
        "validate.leakage.check",
        "all sets that were used, calibration data among them",
    ),
    Topic(
        "membership",
        "Can one tell from its outputs whether an example was in the training set?",
        "validate.membership.audit",
        "examples that were trained on and others; for the strong attacks shadow models",
    ),
    Topic(
        "memorised sequences",
        "Does a model of sequences give back secrets from its training text?",
        "validate.privacy.exposure",
        "secret sequences planted before training",
    ),
    Topic(
        "attribute inference",
        "Can a hidden attribute of a person be guessed from the model?",
        "validate.privacy.attribute_audit",
        "examples with the attribute known",
    ),
    Topic(
        "privacy bound",
        "How much does any one example show at least, as an epsilon?",
        "validate.privacy.one_run_audit",
        "a training run with randomly included examples",
    ),
)
"""All topics, in the order of the card."""

_NAMES = tuple(topic.name for topic in TOPICS)


def check_topic(caller: str, topic: object) -> None:
    """Raises a ValueError unless it is the name of a topic."""
    check_text(caller, "topic", topic)
    if topic not in _NAMES:
        raise ValueError(f"{caller}(topic={shown(topic)}) must be one of: {', '.join(_NAMES)}.")
