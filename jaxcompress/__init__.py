"""jaxcompress makes a trained JAX model smaller and faster, and proves what that cost.

A model is a pure function and its parameter tree, `fn(params, *inputs) -> outputs`.
What every part shares is here; the rest is in rooms, loaded when first touched:

    adapt        small trainable parts beside a frozen model
    graph        the model as a program: what each axis does, cost, values inside
    prune        which weights are set to zero
    quantize     fewer bits for weights and activations
    structure    smaller arrays: units, heads, layers and ranks removed
    distill      losses from a teacher
    optimizers   optax transformations, and states in fewer bits
    layerwise    a trained model solved layer by layer
    storage      files and sizes
    train        a training loop for those who have none
    validate     splits, metrics, intervals, paired tests
    auto         how sensitive each leaf is
    report       tables, plots, one HTML page
    kernels      integer matrix products
    bridges      Linen, NNX, Equinox and Haiku models as fn and params
    schedules    of a sparsity, and of the steps at which something happens
    observers    what is measured of the data that meet a weight

In signatures, `Params` is any tree of arrays, `Masks` a tree of that structure with
bool leaves (True keeps), `Model` the function above, `Selector` a function from params
to a tree of bool, and `View` one from params to params.
"""

import importlib
import typing

from jaxcompress.core import exports, version

if typing.TYPE_CHECKING:
    from jaxcompress import adapt as adapt
    from jaxcompress import auto as auto
    from jaxcompress import bridges as bridges
    from jaxcompress import distill as distill
    from jaxcompress import graph as graph
    from jaxcompress import kernels as kernels
    from jaxcompress import layerwise as layerwise
    from jaxcompress import optimizers as optimizers
    from jaxcompress import prune as prune
    from jaxcompress import quantize as quantize
    from jaxcompress import report as report
    from jaxcompress import storage as storage
    from jaxcompress import structure as structure
    from jaxcompress import train as train
    from jaxcompress import validate as validate
    from jaxcompress.core import observers as observers
    from jaxcompress.core import schedules as schedules
    from jaxcompress.core.axes import Axes as Axes
    from jaxcompress.core.axes import LeafAxes as LeafAxes
    from jaxcompress.core.companions import Companion as Companion
    from jaxcompress.core.companions import Step as Step
    from jaxcompress.core.corrected import Corrected as Corrected
    from jaxcompress.core.hashed import Hashed as Hashed
    from jaxcompress.core.leaf import CompressedLeaf as CompressedLeaf
    from jaxcompress.core.leaf import materialize as materialize
    from jaxcompress.core.leaf import materialized as materialized
    from jaxcompress.core.lowrank import LowRank as LowRank
    from jaxcompress.core.names import leaf_names as leaf_names
    from jaxcompress.core.names import named_leaves as named_leaves
    from jaxcompress.core.partition import combine as combine
    from jaxcompress.core.partition import partition as partition
    from jaxcompress.core.product import ProductQuantized as ProductQuantized
    from jaxcompress.core.qtensor import QTensor as QTensor
    from jaxcompress.core.random_code import RandomCode as RandomCode
    from jaxcompress.core.recalibration import recalibrate as recalibrate
    from jaxcompress.core.report import Report as Report
    from jaxcompress.core.restacked import restack as restack
    from jaxcompress.core.rotated import Rotated as Rotated
    from jaxcompress.core.rules import Rules as Rules
    from jaxcompress.core.selectors import all_of as all_of
    from jaxcompress.core.selectors import any_of as any_of
    from jaxcompress.core.selectors import at_least as at_least
    from jaxcompress.core.selectors import everything as everything
    from jaxcompress.core.selectors import inexact as inexact
    from jaxcompress.core.selectors import matching as matching
    from jaxcompress.core.selectors import none_of as none_of
    from jaxcompress.core.selectors import weights as weights
    from jaxcompress.core.spec import QuantSpec as QuantSpec

__version__ = version.VERSION

# Names are loaded when they are first touched, and JAX with them: whoever asks for the
# version alone does not wait for it. Type checkers read the imports above.
_ROOMS = (
    "adapt",
    "auto",
    "bridges",
    "distill",
    "graph",
    "kernels",
    "layerwise",
    "observers",
    "optimizers",
    "prune",
    "quantize",
    "report",
    "schedules",
    "storage",
    "structure",
    "train",
    "validate",
)
_WORDS = {
    "Axes": "axes",
    "LeafAxes": "axes",
    "Companion": "companions",
    "Step": "companions",
    "Corrected": "corrected",
    "Hashed": "hashed",
    "CompressedLeaf": "leaf",
    "materialize": "leaf",
    "materialized": "leaf",
    "LowRank": "lowrank",
    "leaf_names": "names",
    "named_leaves": "names",
    "combine": "partition",
    "partition": "partition",
    "ProductQuantized": "product",
    "QTensor": "qtensor",
    "RandomCode": "random_code",
    "recalibrate": "recalibration",
    "Report": "report",
    "restack": "restacked",
    "Rotated": "rotated",
    "Rules": "rules",
    "all_of": "selectors",
    "any_of": "selectors",
    "at_least": "selectors",
    "everything": "selectors",
    "inexact": "selectors",
    "matching": "selectors",
    "none_of": "selectors",
    "weights": "selectors",
    "QuantSpec": "spec",
}
"""By what is at the top, too, its file in `core`."""


def __getattr__(name: str) -> typing.Any:
    if name in _ROOMS:
        return importlib.import_module(f"jaxcompress.{name}")
    if name in _WORDS:
        value = getattr(importlib.import_module(f"jaxcompress.core.{_WORDS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jaxcompress' has no attribute {name!r}")


exports.list_imports(globals(), lazily=(*_ROOMS, *_WORDS))
