"""Diagnosis of the signal: how much noise quantization adds, and where."""

from jaxcompress.core import exports
from jaxcompress.quantize.diagnosis.diagnosis import Diagnosis as Diagnosis
from jaxcompress.quantize.diagnosis.diagnosis import LeafCodes as LeafCodes
from jaxcompress.quantize.diagnosis.diagnosis import SiteSignal as SiteSignal

exports.list_imports(globals())
