"""Reports: tables, plots, a self-contained HTML page, the validation card.

    the page      page, of sections; summary makes those about compressed models
    the card      card_page, save_card
    a file        file_page, file_table, file_sizes
    pictures      pareto, roc, signal

Values come in as plain rows, points and cards; nothing here measures or compresses.
"""

from jaxcompress.core import exports
from jaxcompress.report import sections as sections
from jaxcompress.report.cards import card_page as card_page
from jaxcompress.report.cards import save_card as save_card
from jaxcompress.report.files import file_page as file_page
from jaxcompress.report.files import file_sizes as file_sizes
from jaxcompress.report.files import file_table as file_table
from jaxcompress.report.page import page as page
from jaxcompress.report.plots import Point as Point
from jaxcompress.report.plots import front as front
from jaxcompress.report.plots import pareto as pareto
from jaxcompress.report.plots import pareto_png as pareto_png
from jaxcompress.report.plots import pareto_svg as pareto_svg
from jaxcompress.report.roc import roc as roc
from jaxcompress.report.signal import signal as signal
from jaxcompress.report.summary import summary as summary
from jaxcompress.report.tables import Column as Column
from jaxcompress.report.tables import Table as Table
from jaxcompress.report.tables import show as show
from jaxcompress.report.tables import table as table
from jaxcompress.report.variants import Variant as Variant

exports.list_imports(globals())
