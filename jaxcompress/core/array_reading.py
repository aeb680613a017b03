"""What a compressed leaf does as an array: it is read as the array it stands for.

What reads numbers forms the array and asks it. What an array says of the one buffer it
lies in, a leaf that lies in several does not answer, and says what to do instead.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from jaxcompress.core.apart import MEND
from jaxcompress.core.types import Array

Method = Callable[..., Any]
"""Of an array, whatever it takes and gives."""


def _of_array(name: str) -> Method:
    """The method of this name of the array that is formed."""

    def method(self, *args, **kwargs):
        return getattr(self.materialize(), name)(*args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"`{name}` of the array, which is formed for it."
    return method


def _field_of_array(name: str) -> Any:
    """The property of this name of the array that is formed."""

    def value(self):
        return getattr(self.materialize(), name)

    value.__doc__ = f"`{name}` of the array, which is formed for it."
    return property(value)


class ArrayReading:
    """Operators, methods and properties of a `jax.Array`, read from `materialize()`.

    Invariants:
      - Each gives what it gives of the materialized array, as a plain array.
      - Equality is by entry, so a leaf has no hash, as an array has none.
      - An attribute of the one buffer of an array, such as `nbytes` or `sharding`, is
        missing: the AttributeError says what there is.
    """

    # Above NumPy's, so that an array of NumPy leaves its operators to the leaf.
    __array_priority__: ClassVar[int] = 100
    weak_type: ClassVar[bool] = False

    def materialize(self) -> Array:
        raise NotImplementedError

    __eq__: ClassVar[Method] = _of_array("__eq__")
    __ne__: ClassVar[Method] = _of_array("__ne__")
    __lt__: ClassVar[Method] = _of_array("__lt__")
    __le__: ClassVar[Method] = _of_array("__le__")
    __gt__: ClassVar[Method] = _of_array("__gt__")
    __ge__: ClassVar[Method] = _of_array("__ge__")
    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]

    __neg__: ClassVar[Method] = _of_array("__neg__")
    __pos__: ClassVar[Method] = _of_array("__pos__")
    __abs__: ClassVar[Method] = _of_array("__abs__")
    __invert__: ClassVar[Method] = _of_array("__invert__")
    __add__: ClassVar[Method] = _of_array("__add__")
    __radd__: ClassVar[Method] = _of_array("__radd__")
    __sub__: ClassVar[Method] = _of_array("__sub__")
    __rsub__: ClassVar[Method] = _of_array("__rsub__")
    __mul__: ClassVar[Method] = _of_array("__mul__")
    __rmul__: ClassVar[Method] = _of_array("__rmul__")
    __matmul__: ClassVar[Method] = _of_array("__matmul__")
    __rmatmul__: ClassVar[Method] = _of_array("__rmatmul__")
    __truediv__: ClassVar[Method] = _of_array("__truediv__")
    __rtruediv__: ClassVar[Method] = _of_array("__rtruediv__")
    __floordiv__: ClassVar[Method] = _of_array("__floordiv__")
    __rfloordiv__: ClassVar[Method] = _of_array("__rfloordiv__")
    __mod__: ClassVar[Method] = _of_array("__mod__")
    __rmod__: ClassVar[Method] = _of_array("__rmod__")
    __divmod__: ClassVar[Method] = _of_array("__divmod__")
    __rdivmod__: ClassVar[Method] = _of_array("__rdivmod__")
    __pow__: ClassVar[Method] = _of_array("__pow__")
    __rpow__: ClassVar[Method] = _of_array("__rpow__")
    __and__: ClassVar[Method] = _of_array("__and__")
    __rand__: ClassVar[Method] = _of_array("__rand__")
    __or__: ClassVar[Method] = _of_array("__or__")
    __ror__: ClassVar[Method] = _of_array("__ror__")
    __xor__: ClassVar[Method] = _of_array("__xor__")
    __rxor__: ClassVar[Method] = _of_array("__rxor__")
    __lshift__: ClassVar[Method] = _of_array("__lshift__")
    __rlshift__: ClassVar[Method] = _of_array("__rlshift__")
    __rshift__: ClassVar[Method] = _of_array("__rshift__")
    __rrshift__: ClassVar[Method] = _of_array("__rrshift__")

    __bool__: ClassVar[Method] = _of_array("__bool__")
    __int__: ClassVar[Method] = _of_array("__int__")
    __float__: ClassVar[Method] = _of_array("__float__")
    __complex__: ClassVar[Method] = _of_array("__complex__")
    __index__: ClassVar[Method] = _of_array("__index__")
    __round__: ClassVar[Method] = _of_array("__round__")
    __len__: ClassVar[Method] = _of_array("__len__")
    __iter__: ClassVar[Method] = _of_array("__iter__")
    __setitem__: ClassVar[Method] = _of_array("__setitem__")
    __array__: ClassVar[Method] = _of_array("__array__")
    __array_namespace__: ClassVar[Method] = _of_array("__array_namespace__")

    at: ClassVar[Any] = _field_of_array("at")
    flat: ClassVar[Any] = _field_of_array("flat")
    imag: ClassVar[Any] = _field_of_array("imag")
    real: ClassVar[Any] = _field_of_array("real")

    all: ClassVar[Method] = _of_array("all")
    any: ClassVar[Method] = _of_array("any")
    argmax: ClassVar[Method] = _of_array("argmax")
    argmin: ClassVar[Method] = _of_array("argmin")
    argpartition: ClassVar[Method] = _of_array("argpartition")
    argsort: ClassVar[Method] = _of_array("argsort")
    choose: ClassVar[Method] = _of_array("choose")
    clip: ClassVar[Method] = _of_array("clip")
    compress: ClassVar[Method] = _of_array("compress")
    conj: ClassVar[Method] = _of_array("conj")
    conjugate: ClassVar[Method] = _of_array("conjugate")
    cumprod: ClassVar[Method] = _of_array("cumprod")
    cumsum: ClassVar[Method] = _of_array("cumsum")
    diagonal: ClassVar[Method] = _of_array("diagonal")
    dot: ClassVar[Method] = _of_array("dot")
    flatten: ClassVar[Method] = _of_array("flatten")
    item: ClassVar[Method] = _of_array("item")
    max: ClassVar[Method] = _of_array("max")
    mean: ClassVar[Method] = _of_array("mean")
    min: ClassVar[Method] = _of_array("min")
    nonzero: ClassVar[Method] = _of_array("nonzero")
    prod: ClassVar[Method] = _of_array("prod")
    ptp: ClassVar[Method] = _of_array("ptp")
    ravel: ClassVar[Method] = _of_array("ravel")
    repeat: ClassVar[Method] = _of_array("repeat")
    reshape: ClassVar[Method] = _of_array("reshape")
    round: ClassVar[Method] = _of_array("round")
    searchsorted: ClassVar[Method] = _of_array("searchsorted")
    sort: ClassVar[Method] = _of_array("sort")
    squeeze: ClassVar[Method] = _of_array("squeeze")
    std: ClassVar[Method] = _of_array("std")
    sum: ClassVar[Method] = _of_array("sum")
    take: ClassVar[Method] = _of_array("take")
    tobytes: ClassVar[Method] = _of_array("tobytes")
    tolist: ClassVar[Method] = _of_array("tolist")
    trace: ClassVar[Method] = _of_array("trace")
    var: ClassVar[Method] = _of_array("var")
    view: ClassVar[Method] = _of_array("view")

    if not TYPE_CHECKING:  # else a type checker would take every misspelt attribute

        def __getattr__(self, name: str):
            missing = f"{type(self).__name__} has no {name!r}."
            if hasattr(type(self), name):  # a property that its arrays do not have
                missing = f"{self!r} has no {name!r}. {MEND}"
            elif name[:1] != "_":
                missing += (
                    " Its own arrays are jax.tree.leaves(leaf), which jax.device_put and "
                    "jax.block_until_ready take as one, of leaf.size_bytes bytes; the array it "
                    "stands for is jc.materialize(leaf)."
                )
            raise AttributeError(missing, name=name, obj=self)
