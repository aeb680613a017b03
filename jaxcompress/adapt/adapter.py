"""What an adapter is: pure functions of params and of what is trained beside them."""

from collections.abc import Callable
from typing import NamedTuple

from jaxcompress.core.companions import Companions, Seen
from jaxcompress.core.types import Array, Params


class Adapter(NamedTuple):
    """Trains small parts beside a frozen model: a `Companion` and more.

        adapters = technique.init(params)
        loss of adapters = loss of fn(technique.view(params, adapters), batch)
        grads = jax.grad(loss)(adapters)

    The params are closed over or passed beside, so that they may hold codes, of which
    there is no gradient; the optimizer sees the adapters alone.

    Attributes:
      init: params -> adapters, by leaf name.
      view: (params, adapters, step) -> params as the model sees them: a `QTensor`
        becomes a `Corrected`, whose codes stay the only copy of the weight, every other
        adapted leaf an array. For `materialized(fn)`, or `fn` where all are arrays.
      freeze: (params, adapters, step) -> what is shipped, which is what `view` shows,
        bit for bit under one jit.
      penalty: 0, as of every `Companion` without one.
      apart: (params, adapters) -> params for `adapt.run(fn)`, in which the adapters lie
        beside the weights. Inside of the step alone: they cannot be saved.
      merge: (params, adapters) -> what is shipped, as plain arrays.
      residual: (params, adapters) -> arrays less what the adapters add, from which
        `view` with these adapters shows the params again, up to rounding; of `dora`
        while magnitudes are as they began, the norms of the params. A base for
        adapters that begin with a part of the weight.
    """

    init: Callable[[Params], Companions]
    view: Seen
    freeze: Seen
    penalty: Callable[[Params, Companions], Array]
    apart: Callable[[Params, Companions], Params]
    merge: Callable[[Params, Companions], Params]
    residual: Callable[[Params, Companions], Params]
