"""Execution on codes: how activations become codes, which product each site runs."""

from jaxcompress.core import exports
from jaxcompress.quantize.execution.activations import Activations as Activations
from jaxcompress.quantize.execution.activations import dynamic as dynamic
from jaxcompress.quantize.execution.activations import static as static
from jaxcompress.quantize.execution.choices import ChosenForm as ChosenForm
from jaxcompress.quantize.execution.outliers import above as above
from jaxcompress.quantize.execution.outliers import largest as largest
from jaxcompress.quantize.execution.outliers import outliers as outliers
from jaxcompress.quantize.execution.packed.model import PackedModel as PackedModel
from jaxcompress.quantize.execution.packed.model import packed_model as packed_model

exports.list_imports(globals())
