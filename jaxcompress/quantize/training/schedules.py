"""When a technique begins, and which one follows another: schedules of companions."""

import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.companions import Companion, Companions, Step, check_step
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.core.types import Array, Params

MADE_BY = "Take one of quantize.training, or another Companion."


def delayed(technique: Companion, begin: int) -> Companion:
    """Shows weights as they are until a step, and by the technique from then on.

    Not for: models that are trained already, which can see the technique itself, as
    `nearest`, from the first step.

    A model that has learned something is easier to quantize than random weights are.
    What the technique trains is found by `init`: call it again at `begin` where it
    comes from the weights, as learned steps do.

    Also known as: delayed quantization, quantization delay, warm-up in floats.

    Args:
      technique: any companion.
      begin: the first step that sees its view; `Step.count` says which step it is.

    Returns:
      Companion; all but its view is the technique's.

    Raises:
      TypeError: `technique` is no Companion.
      ValueError: `begin` is not a count.

    Example:
      >>> training = jc.quantize.training
      >>> late = training.delayed(training.binary_connect(), 100)
      >>> params = {"kernel": jnp.array([[0.3, -2.0]])}
      >>> [
      ...     late.view(params, late.init(params), jc.Step(count))["kernel"].tolist()
      ...     for count in (99, 100)
      ... ]
      [[[0.30000001192092896, -2.0]], [[1.0, -1.0]]]
    """
    check_kind("delayed", "technique", technique, Companion, MADE_BY)
    check_count("delayed", "begin", begin, least=0)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        check_step("delayed", step)
        begun = jnp.asarray(step.count) >= begin
        shown = technique.view(params, companions, step)
        return jax.tree.map(lambda old, new: jnp.where(begun, new, old), params, shown)

    return technique._replace(view=view)


def gradual(stages: Mapping[int, Companion]) -> Companion:
    """Shows weights by one technique after another, such as fewer and fewer bits.

    Not for: 4 bits from trained floats, beside which a small ResNet lost nothing by
    `learned_steps` alone.

    Each stage has companions of its own, which all begin at the same weights; the last
    stage is what is shipped. Only the stage that is seen gets gradients, and only its
    view is computed.

    Also known as: progressive quantization, gradual bit reduction.

    Args:
      stages: the step that each stage begins at, in ascending order from 0, to its
        technique.

    Returns:
      Companion. By the number of a stage it holds that stage's companions.

    Raises:
      TypeError: `stages` is no mapping, or a stage no Companion.
      ValueError: there is no stage, the first does not begin at 0, or one begins before
        the stage in front of it has ended.

    Example:
      >>> training = jc.quantize.training
      >>> first = training.learned_steps(jc.quantize.int8())
      >>> second = training.learned_steps(jc.quantize.int4())
      >>> technique = training.gradual({0: first, 500: second})
      >>> params = {"kernel": jnp.array([[7.0], [2.2]])}
      >>> technique.freeze(params, technique.init(params))["kernel"]
      QTensor(int4 per channel, shape=(2, 1), dtype=float32)

    Source: Zhuang et al. 2018, arXiv:1711.00205, section 3.2.
    """
    check_mapping("gradual", "stages", stages, "Pass {0: technique, step: technique, …}.")
    begins, techniques = list(stages), list(stages.values())
    for begin, technique in stages.items():
        check_count("gradual", "stages", begin, least=0)
        check_kind("gradual", f"stages[{begin}]", technique, Companion, MADE_BY)
    if not begins or begins[0] != 0:
        raise ValueError(f"gradual(stages=...) begins at steps {begins}; the first must be 0.")
    if any(later <= earlier for earlier, later in itertools.pairwise(begins)):
        raise ValueError(
            f"gradual(stages=...) begins at steps {begins}: one stage would end before it begins. "
            "Give them in ascending order."
        )

    def init(params: Params) -> Companions:
        return {str(i): each.init(params) for i, each in enumerate(techniques)}

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        check_step("gradual", step)
        companions = _by_stage(companions, len(begins))

        def stage(number: int):
            own = techniques[number]
            return lambda params, all: own.view(params, all[str(number)], step)

        current = jnp.searchsorted(jnp.asarray(begins), jnp.asarray(step.count), side="right") - 1
        return jax.lax.switch(current, [stage(i) for i in range(len(begins))], params, companions)

    def freeze(params: Params, companions: Companions, step: Step = Step()) -> Params:
        companions = _by_stage(companions, len(begins))
        return techniques[-1].freeze(params, companions[str(len(begins) - 1)], step)

    def penalty(params: Params, companions: Companions) -> Array:
        companions = _by_stage(companions, len(begins))
        return _total(
            [each.penalty(params, companions[str(i)]) for i, each in enumerate(techniques)]
        )

    return Companion(init, view, freeze, penalty)


def _by_stage(companions: Companions, count: int) -> Companions:
    """The companions; raises unless they are those of so many stages."""
    companions = unwrapped(companions)
    check_mapping("gradual", "companions", companions, "Begin with init(params).")
    expected = [str(i) for i in range(count)]
    if sorted(companions) != sorted(expected):
        raise ValueError(
            f"gradual(companions=...) must be those of the stages {', '.join(expected)}, not "
            f"{', '.join(map(str, companions)) or 'none'}. Begin with init(params)."
        )
    return companions


def _total(terms: Sequence[Array]) -> Array:
    return sum(terms[1:], start=terms[0])
