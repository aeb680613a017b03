"""The validation card, what goes onto it, and what can be tested at all.

    the page      Card, made of findings; report.card_page and save_card write it
    what goes on  Finding with its Figures, Found: any result with finding()
    what it is of ModelRecord, DataRecord: model_record, data_record, fingerprint
    what there is TOPICS: each kind of test, with the call that makes it

Nothing here tests; results elsewhere offer `finding()`.
"""

from jaxcompress.core import exports
from jaxcompress.validate.cards.card import Card as Card
from jaxcompress.validate.cards.findings import VERDICTS as VERDICTS
from jaxcompress.validate.cards.findings import Figure as Figure
from jaxcompress.validate.cards.findings import Finding as Finding
from jaxcompress.validate.cards.findings import Found as Found
from jaxcompress.validate.cards.records import DataRecord as DataRecord
from jaxcompress.validate.cards.records import ModelRecord as ModelRecord
from jaxcompress.validate.cards.records import data_record as data_record
from jaxcompress.validate.cards.records import fingerprint as fingerprint
from jaxcompress.validate.cards.records import model_record as model_record
from jaxcompress.validate.cards.topics import TOPICS as TOPICS
from jaxcompress.validate.cards.topics import Topic as Topic

exports.list_imports(globals())
