"""Reports: tables, the Pareto plot, a self-contained HTML page, the validation card.

Values come in as plain rows, points and cards; nothing here measures or compresses.
"""

from jaxcompress.core import exports
from jaxcompress.report.cards import card_page as card_page
from jaxcompress.report.cards import save_card as save_card
from jaxcompress.report.files import file_page as file_page
from jaxcompress.report.files import file_sizes as file_sizes
from jaxcompress.report.files import file_table as file_table
from jaxcompress.report.page import Heading as Heading
from jaxcompress.report.page import Paragraph as Paragraph
from jaxcompress.report.page import Picture as Picture
from jaxcompress.report.page import Preformatted as Preformatted
from jaxcompress.report.page import page as page
from jaxcompress.report.plots import Point as Point
from jaxcompress.report.plots import front as front
from jaxcompress.report.plots import pareto as pareto
from jaxcompress.report.plots import pareto_png as pareto_png
from jaxcompress.report.plots import pareto_svg as pareto_svg
from jaxcompress.report.roc import roc as roc
from jaxcompress.report.signal import signal as signal
from jaxcompress.report.tables import Column as Column
from jaxcompress.report.tables import Table as Table
from jaxcompress.report.tables import show as show
from jaxcompress.report.tables import table as table

exports.list_imports(globals())
