"""What a compressed leaf does as an array: it is read as the array it stands for.

What reads numbers forms the array and asks it. What an array says of the one buffer it
lies in, a leaf that lies in several does not answer, and says what to do instead.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from jaxcompress.core.apart import MEND
from jaxcompress.core.types import Array


def _of_array(name: str) -> Callable[..., Any]:
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
    __array_priority__ = 100
    weak_type = False

    def materialize(self) -> Array:
        raise NotImplementedError

    __eq__ = _of_array("__eq__")
    __ne__ = _of_array("__ne__")
    __lt__ = _of_array("__lt__")
    __le__ = _of_array("__le__")
    __gt__ = _of_array("__gt__")
    __ge__ = _of_array("__ge__")
    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]

    __neg__ = _of_array("__neg__")
    __pos__ = _of_array("__pos__")
    __abs__ = _of_array("__abs__")
    __invert__ = _of_array("__invert__")
    __add__ = _of_array("__add__")
    __radd__ = _of_array("__radd__")
    __sub__ = _of_array("__sub__")
    __rsub__ = _of_array("__rsub__")
    __mul__ = _of_array("__mul__")
    __rmul__ = _of_array("__rmul__")
    __matmul__ = _of_array("__matmul__")
    __rmatmul__ = _of_array("__rmatmul__")
    __truediv__ = _of_array("__truediv__")
    __rtruediv__ = _of_array("__rtruediv__")
    __floordiv__ = _of_array("__floordiv__")
    __rfloordiv__ = _of_array("__rfloordiv__")
    __mod__ = _of_array("__mod__")
    __rmod__ = _of_array("__rmod__")
    __divmod__ = _of_array("__divmod__")
    __rdivmod__ = _of_array("__rdivmod__")
    __pow__ = _of_array("__pow__")
    __rpow__ = _of_array("__rpow__")
    __and__ = _of_array("__and__")
    __rand__ = _of_array("__rand__")
    __or__ = _of_array("__or__")
    __ror__ = _of_array("__ror__")
    __xor__ = _of_array("__xor__")
    __rxor__ = _of_array("__rxor__")
    __lshift__ = _of_array("__lshift__")
    __rlshift__ = _of_array("__rlshift__")
    __rshift__ = _of_array("__rshift__")
    __rrshift__ = _of_array("__rrshift__")

    __bool__ = _of_array("__bool__")
    __int__ = _of_array("__int__")
    __float__ = _of_array("__float__")
    __complex__ = _of_array("__complex__")
    __index__ = _of_array("__index__")
    __round__ = _of_array("__round__")
    __len__ = _of_array("__len__")
    __iter__ = _of_array("__iter__")
    __setitem__ = _of_array("__setitem__")
    __array__ = _of_array("__array__")
    __array_namespace__ = _of_array("__array_namespace__")

    at = _field_of_array("at")
    flat = _field_of_array("flat")
    imag = _field_of_array("imag")
    real = _field_of_array("real")

    all = _of_array("all")
    any = _of_array("any")
    argmax = _of_array("argmax")
    argmin = _of_array("argmin")
    argpartition = _of_array("argpartition")
    argsort = _of_array("argsort")
    choose = _of_array("choose")
    clip = _of_array("clip")
    compress = _of_array("compress")
    conj = _of_array("conj")
    conjugate = _of_array("conjugate")
    cumprod = _of_array("cumprod")
    cumsum = _of_array("cumsum")
    diagonal = _of_array("diagonal")
    dot = _of_array("dot")
    flatten = _of_array("flatten")
    item = _of_array("item")
    max = _of_array("max")
    mean = _of_array("mean")
    min = _of_array("min")
    nonzero = _of_array("nonzero")
    prod = _of_array("prod")
    ptp = _of_array("ptp")
    ravel = _of_array("ravel")
    repeat = _of_array("repeat")
    reshape = _of_array("reshape")
    round = _of_array("round")
    searchsorted = _of_array("searchsorted")
    sort = _of_array("sort")
    squeeze = _of_array("squeeze")
    std = _of_array("std")
    sum = _of_array("sum")
    take = _of_array("take")
    tobytes = _of_array("tobytes")
    tolist = _of_array("tolist")
    trace = _of_array("trace")
    var = _of_array("var")
    view = _of_array("view")

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
