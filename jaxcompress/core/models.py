"""Checks of models: what `fn` and `train_fn` can be called with.

What a `train_fn` gives is checked in `trees`.
"""

import inspect
from typing import Any

from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown

MODEL = "Pass the model, fn(params, *inputs), as a bridge gives it."
TRAINED = "Pass train_fn(params, *inputs, key) -> (outputs, new_params), as a bridge gives it."
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_model(caller: str, fn: object, inputs: int | None = None, mend: str = MODEL) -> None:
    """Raises a TypeError unless `fn` can be called with params and inputs alone.

    Args:
      caller: the name that the error gives.
      fn: the model. How functions and modules are called is known, of others not.
      inputs: how many there are; None where that is not known.
      mend: what to pass.

    Example:
      >>> check_model("predict", lambda params, x, *, key: x)
      Traceback (most recent call last):
      TypeError: predict(fn=<lambda>) asks for the keyword 'key', which it is not given.
      Pass the model in evaluation mode, as the fn of a bridge, or give the keyword with
      functools.partial.
      >>> check_model("predict", lambda x: x, inputs=1)
      Traceback (most recent call last):
      TypeError: predict(fn=<lambda>) cannot be called with params and 1 input. Pass the
      model, fn(params, *inputs), as a bridge gives it.
    """
    check_function(caller, "fn", fn, mend)
    signature = _signature(fn)
    if signature is None:
        return
    for name, each in signature.parameters.items():
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty:
            raise TypeError(
                f"{caller}(fn={shown(fn)}) asks for the keyword {name!r}, which it is not given. "
                "Pass the model in evaluation mode, as the fn of a bridge, or give the keyword "
                "with functools.partial."
            )
    if inputs is not None and not _binds(signature, inputs + 1):
        raise TypeError(
            f"{caller}(fn={shown(fn)}) cannot be called with params and {inputs} "
            f"input{'s' * (inputs != 1)}. {mend}"
        )


def check_train_fn(caller: str, train_fn: object) -> None:
    """Raises a TypeError unless `train_fn` can be called with a keyword `key`.

    Example:
      >>> check_train_fn("recalibrate", lambda params, x: x)
      Traceback (most recent call last):
      TypeError: recalibrate(train_fn=<lambda>) takes no keyword 'key'. Pass
      train_fn(params, *inputs, key) -> (outputs, new_params), as a bridge gives it.
    """
    check_function(caller, "train_fn", train_fn, TRAINED)
    signature = _signature(train_fn)
    if signature is None:
        return
    parameters = signature.parameters.values()
    named = any(each.name == "key" and each.kind in _BY_NAME for each in parameters)
    if not named and not any(each.kind is each.VAR_KEYWORD for each in parameters):
        raise TypeError(f"{caller}(train_fn={shown(train_fn)}) takes no keyword 'key'. {TRAINED}")


def _signature(function: Any) -> inspect.Signature | None:
    """How it is called, None where that is not known.

    A wrapper in Python may itself give what the function inside asks for, so it is read
    as it stands; what `jax.jit` gives passes everything on.
    """
    if not inspect.isfunction(function):
        function = getattr(function, "__wrapped__", function)
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
