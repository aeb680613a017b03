"""The validation card: what was tested, on which data, how it went, and what was not.

A card is a value. Its text for people is in `card_text`, its HTML in `report`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.validate.cards.findings import Finding, Found, gathered, record_of
from jaxcompress.validate.cards.records import DataRecord, ModelRecord
from jaxcompress.validate.cards.text import Block, blocks, markdown
from jaxcompress.validate.cards.topics import TOPICS, Topic


@dataclasses.dataclass(frozen=True)
class Card:
    """A validation card: one page on what is known of models, and what is not.

    Invariants:
      - Its text depends on its fields alone: no time, no path, no machine.
      - What no finding speaks of is listed as not tested, with the call that tests it.

    Also known as: model card, evaluation report.

    Args:
      title: of the page.
      models: what was tested; no two of one name.
      data: what it was tested on; no two of one name.
      findings: what was found, in the order of the page.
      date: when, in the caller's own words; left out where empty.

    Example:
      >>> card = jc.validate.Card("Digits", (jc.validate.cards.ModelRecord("int8"),))
      >>> fn, labels = lambda params, x: x, jnp.array([0, 0])
      >>> card = card.adding(jc.validate.evaluate(fn, {}, jnp.eye(2), labels))
      >>> card.findings[0].statement
      'Answers 1 of 2 examples correctly.'
      >>> len(card.not_tested) == len(jc.validate.cards.TOPICS) - 1
      True

    Source: the idea of a page beside a model, Mitchell et al. 2019, arXiv:1810.03993,
    sections 4.4 to 4.9. Differs: it is made from results, and says what was not tested.
    """

    title: str
    models: tuple[ModelRecord, ...] = ()
    data: tuple[DataRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    date: str = ""

    def __post_init__(self) -> None:
        check_text("Card", "title", self.title)
        check_text("Card", "date", self.date)
        kinds = {"models": ModelRecord, "data": DataRecord, "findings": Finding}
        for field, kind in kinds.items():
            entries = getattr(self, field)
            check_kind("Card", field, entries, tuple, "End one entry by a comma.")
            check_each("Card", field, entries, _check_of(kind))
        for field in ("models", "data"):
            names = [entry.name for entry in getattr(self, field)]
            twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
            if twice:
                raise ValueError(f"Card({field}=...) holds {twice[0]!r} twice. Name them apart.")

    def adding(self, *results: Found, about: str = "") -> "Card":
        """A card with more findings, after those that are there.

        Args:
          *results: findings, or results of this package and others that offer
            `finding()`.
          about: the model and the data they speak of, such as "int8 on test"; where
            empty, what each finding says itself.

        Returns:
          Card; this one stays as it is.

        Raises:
          TypeError: a result has no `finding()`.
        """
        check_text("Card.adding", "about", about)
        found = gathered("Card.adding", results)
        if about:
            found = tuple(dataclasses.replace(finding, about=about) for finding in found)
        return dataclasses.replace(self, findings=self.findings + found)

    @property
    def not_tested(self) -> tuple[Topic, ...]:
        """The topics that no finding speaks of, in their order."""
        tested = {finding.topic for finding in self.findings}
        return tuple(topic for topic in TOPICS if topic.name not in tested)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The page as headings, lines and tables; every text form is made of it."""
        return blocks(self.models, self.data, self.findings, self.not_tested, self.date)

    def to_markdown(self) -> str:
        """The page in Markdown; texts are escaped."""
        return markdown(self.title, self.blocks)

    def to_json(self) -> dict[str, Any]:
        """All fields and what was not tested, as plain values; see `from_json`."""
        return {
            "title": self.title,
            "date": self.date,
            "models": [model.to_json() for model in self.models],
            "data": [data.to_json() for data in self.data],
            "findings": [finding.to_json() for finding in self.findings],
            "not_tested": [topic._asdict() for topic in self.not_tested],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Card":
        """The card that `to_json` described; what was not tested follows from it.

        Raises:
          TypeError: the record is no mapping, or holds a value of a wrong type.
          ValueError: a field is missing, or holds what a card does not.
        """
        fields = record_of(cls, record)
        kinds = {"models": ModelRecord, "data": DataRecord, "findings": Finding}
        for field, kind in kinds.items():
            fields[field] = tuple(map(kind.from_json, fields[field]))
        return cls(**fields)


def _check_of(kind: type[Any]):
    def check(caller: str, argument: str, value: object) -> None:
        check_kind(caller, argument, value, kind, f"Make it with validate.{kind.__name__}.")

    return check
