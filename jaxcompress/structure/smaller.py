"""The result of every removal: a smaller model, and a report."""

from typing import Generic, NamedTuple, TypeVar

from jaxcompress.core.types import Model, Params
from jaxcompress.graph.surgery.removal import Removal

ReportType = TypeVar("ReportType")


class SmallerModel(NamedTuple, Generic[ReportType]):
    """A model without some of its units, residual blocks or layers.

    Attributes:
      fn: the smaller model; it traces the original at every call, so jit it.
      params: the smaller params, of the same structure.
      removal: of the original model; `storage.save` keeps it, `replay` gives the
        smaller model again, and `graph.surgery.slice_params` cuts other params by it.
      report: what that did.
    """

    fn: Model
    params: Params
    removal: Removal
    report: ReportType
