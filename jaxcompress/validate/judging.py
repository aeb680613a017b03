"""Functions that judge a model by examples, where a model is easily passed instead."""

from collections.abc import Callable
from typing import Any

from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree


def judging(
    caller: str, argument: str, judge: Callable[..., Any], mend: str
) -> Callable[[Any, PyTree], Any]:
    """The function itself, whose errors say so where it is a model.

    One that fails on examples (inputs, targets) and takes the inputs alone is a model.

    Args:
      caller: the name that errors give.
      argument: its argument.
      judge: `judge(model, examples)`.
      mend: what to pass, a sentence.

    Example:
      >>> fn = lambda params, x: x @ params
      >>> judge = judging("shadows", "signal", fn, "Pass signal(model, examples).")
      >>> judge(jnp.eye(2), (jnp.eye(2), jnp.arange(2)))
      Traceback (most recent call last):
      TypeError: shadows(signal=<lambda>) takes the inputs of examples (inputs, targets)
      alone, as a model does. Pass signal(model, examples).
    """

    def named(model: Any, examples: PyTree) -> Any:
        try:
            return judge(model, examples)
        except Exception as error:
            if not _takes_inputs(judge, model, examples):
                raise
            raise TypeError(
                f"{caller}({argument}={shown(judge)}) takes the inputs of examples (inputs, "
                f"targets) alone, as a model does. {mend}"
            ) from error

    return named


def _takes_inputs(judge: Callable[..., Any], model: Any, examples: PyTree) -> bool:
    if not isinstance(examples, tuple | list) or len(examples) < 2:
        return False
    try:
        judge(model, examples[0])
    except Exception:
        return False
    return True
