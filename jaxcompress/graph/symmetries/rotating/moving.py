"""Laws of what moves, joins, reads and sums whole axes of values."""

from collections.abc import Sequence

from jaxcompress.graph.symmetries.rotating.lying import lies_twice
from jaxcompress.graph.symmetries.rotating.passing import Equation, Fact, Law, unknown
from jaxcompress.graph.symmetries.rotating.states import FIXED, UNIFORM, ZERO, State


def transposed(at: Equation) -> list[Fact]:
    """Axes in another order."""
    (fact,) = at.facts
    order = at.params["permutation"]
    states = tuple(fact.states[axis] for axis in order)
    axes = tuple(fact.axes[axis] for axis in order) if fact.leaf else ()
    return [fact._replace(states=states, axes=axes)]


def squeezed(at: Equation) -> list[Fact]:
    """Axes of size one gone."""
    (fact,) = at.facts
    gone = at.params["dimensions"]
    states = tuple(state for axis, state in enumerate(fact.states) if axis not in gone)
    return [fact._replace(states=states, leaf="")]


def turned(at: Equation) -> list[Fact]:
    """The same units, from the last to the first."""
    (fact,) = at.facts
    return [fact._replace(states=tuple(at.taken(fact.states)), leaf="")]


def broadcast(at: Equation) -> list[Fact]:
    """Entries along a new axis are equal."""
    fact, dims = at.facts[0], at.record.outputs[0]
    new = ZERO if fact.zero else UNIFORM
    states: list[State | None] = [new if at.lies(d) else None for d in dims]
    for axis, to in enumerate(at.params["broadcast_dimensions"]):
        if at.sizes(0)[axis] == dims[to].size and dims[to].size != 1:
            states[to] = fact.states[axis]
    return [Fact(tuple(states), fact.zero)]


def reshaped(at: Equation) -> list[Fact]:
    """Axes split and joined; where several hold the dim, each goes on in its order."""
    fact, dims = at.facts[0], at.record.outputs[0]
    before = [state for state in fact.states if state is not None]
    after = sum(map(at.lies, dims))
    if len(set(before)) == 1:
        before = before[:1] * after
    elif len(before) != after:
        return unknown(at)
    # Where an axis is made of the dim twice, a rotation would act on both at once.
    if any(at.lies(d) and lies_twice(d, at.trial.atom) for d in dims):
        return unknown(at)
    found = iter(before)
    return [Fact(tuple(next(found) if at.lies(d) else None for d in dims), fact.zero)]


def sliced(at: Equation) -> list[Fact]:
    """Parts along other axes, or along this one of other dims."""
    (fact, *_) = at.facts
    states = at.taken(fact.states)
    return [Fact(at.along(dims, states), fact.zero) for dims in at.record.outputs]


def concatenated(at: Equation) -> list[Fact]:
    """Values in a row; along the axis that joins them, each has its own dims."""
    dims = at.record.outputs[0]
    states = [_joined(at, [fact.states[axis] for fact in at.facts]) for axis in range(len(dims))]
    return [Fact(at.along(dims, states), all(fact.zero for fact in at.facts))]


def stacked(at: Equation) -> list[Fact]:
    """Values along a new axis."""
    axis = at.params["axis"]
    count = len(at.facts[0].states)
    states = [_joined(at, [fact.states[i] for fact in at.facts]) for i in range(count)]
    return [Fact((*states[:axis], None, *states[axis:]), all(fact.zero for fact in at.facts))]


def unstacked(at: Equation) -> list[Fact]:
    """The values along an axis."""
    (fact,) = at.facts
    axis, states = at.params["axis"], at.taken(fact.states)
    return [Fact((*states[:axis], *states[axis + 1 :]), fact.zero)] * len(at.record.outputs)


def _joined(at: Equation, states: Sequence[State | None]) -> State | None:
    there = at.taken([state for state in states if state is not None])
    return at.trial.sum(at.record, [each for each in there if each]) if there else None


def padded(at: Equation) -> list[Fact]:
    """A value among entries that are all equal."""
    fact, padding = at.facts
    around = ZERO if padding.zero else UNIFORM
    config = at.params["padding_config"]
    elsewhere = [
        any(high or low for low, high, _ in (*config[:i], *config[i + 1 :]))
        for i in range(len(config))
    ]
    states = [
        _joined(at, (state, around)) if others and state else at.taken((state,))[0]
        for state, others in zip(fact.states, elsewhere, strict=True)
    ]
    return [Fact(at.along(at.record.outputs[0], states), fact.zero and padding.zero)]


def gathered(at: Equation) -> list[Fact]:
    """Rows of an array, chosen by indices; axes that are copied whole go on."""
    fact, numbers = at.facts[0], at.params["dimension_numbers"]
    at.trial.block(at.record, at.facts[1].states)
    batching = numbers.operand_batching_dims
    at.trial.block(at.record, [fact.states[axis] for axis in batching])
    dropped = {*numbers.collapsed_slice_dims, *batching}
    states = at.taken(fact.states)
    window = iter([state for axis, state in enumerate(states) if axis not in dropped])
    dims = at.record.outputs[0]
    found = [next(window) if axis in numbers.offset_dims else None for axis in range(len(dims))]
    return [Fact(at.along(dims, found))]


def dynamically_sliced(at: Equation) -> list[Fact]:
    """A part, from where indices say."""
    for fact in at.facts[1:]:
        at.trial.block(at.record, fact.states)
    return [Fact(at.along(at.record.outputs[0], at.taken(at.facts[0].states)))]


def dynamically_updated(at: Equation) -> list[Fact]:
    """An array of which a part is overwritten."""
    array, update, *indices = at.facts
    for fact in indices:
        at.trial.block(at.record, fact.states)
    pairs = zip(array.states, update.states, strict=True)
    states = [_joined(at, pair) for pair in pairs]
    return [Fact(at.along(at.record.outputs[0], states))]


def summed(at: Equation) -> list[Fact]:
    """A sum over some axes."""
    (fact,) = at.facts
    axes = at.params["axes"]
    for axis in axes:
        at.trial.total(at.record, fact.states[axis])
    states = [state for axis, state in enumerate(fact.states) if axis not in axes]
    return [Fact(tuple(at.taken(states)), fact.zero)]


def accumulated(at: Equation) -> list[Fact]:
    """Running sums along another axis."""
    (fact,) = at.facts
    at.trial.block(at.record, (fact.states[at.params["axis"]],))
    return [Fact(tuple(at.taken(fact.states)), fact.zero)]


def dotted(at: Equation) -> list[Fact]:
    """Sums of products along the axes that both lose; other axes go on."""
    (summed, batch) = at.params["dimension_numbers"]
    one, other = (fact.states for fact in at.facts)
    for i, j in zip(*summed, strict=True):
        at.trial.contraction(at.record, one[i], other[j])
    shared = [
        at.trial.product(at.record, one[i] or FIXED, other[j] or FIXED)
        if one[i] or other[j]
        else None
        for i, j in zip(*batch, strict=True)
    ]
    free = [
        state
        for states, gone in zip((one, other), zip(summed, batch, strict=True), strict=True)
        for axis, state in enumerate(states)
        if axis not in (*gone[0], *gone[1])
    ]
    return [Fact((*shared, *at.made(free)))]


def dotted_in_groups(at: Equation) -> list[Fact]:
    """A dot whose rows fall into groups, each with a matrix of its own."""
    numbers = at.params["ragged_dot_dimension_numbers"]
    (summed, batch), groups = numbers.dot_dimension_numbers, numbers.rhs_group_dimensions
    # Where the rows are what is summed, or a batch, there is one result for each group.
    if any(batch) or set(numbers.lhs_ragged_dimensions) & set(summed[0]):
        return unknown(at)
    data, kernel, *rest = (fact.states for fact in at.facts)
    rows = [data[axis] for axis in numbers.lhs_ragged_dimensions]
    stacks = [kernel[axis] for axis in groups]
    at.trial.block(at.record, [*rows, *stacks, *(state for states in rest for state in states)])
    for i, j in zip(*summed, strict=True):
        at.trial.contraction(at.record, data[i], kernel[j])
    free = [state for axis, state in enumerate(data) if axis not in summed[0]]
    free += [state for axis, state in enumerate(kernel) if axis not in (*summed[1], *groups)]
    return [Fact(tuple(at.made(free)))]


def convolved(at: Equation) -> list[Fact]:
    """A dot of features at each place of a window; groups are not followed."""
    if at.params["feature_group_count"] > 1 or at.params["batch_group_count"] > 1:
        return unknown(at)
    data, kernel = (fact.states for fact in at.facts)
    numbers = at.params["dimension_numbers"]
    (examples, features, *places), (outputs, inputs, *window) = numbers.lhs_spec, numbers.rhs_spec
    at.trial.block(at.record, [data[i] for i in places] + [kernel[i] for i in window])
    at.trial.contraction(at.record, data[features], kernel[inputs])
    states: list[State | None] = [None] * len(data)
    states[numbers.out_spec[0]], states[numbers.out_spec[1]] = at.made(
        (data[examples], kernel[outputs])
    )
    return [Fact(tuple(states))]


def handed_on(at: Equation) -> list[Fact]:
    """Operands as results."""
    return list(at.facts)


SHAPE_LAWS: dict[str, Law] = {
    "broadcast_in_dim": broadcast,
    "concatenate": concatenated,
    "conv_general_dilated": convolved,
    "cumsum": accumulated,
    "device_put": handed_on,
    "dot_general": dotted,
    "dynamic_slice": dynamically_sliced,
    "dynamic_update_slice": dynamically_updated,
    "gather": gathered,
    "optimization_barrier": handed_on,
    "pad": padded,
    "ragged_dot_general": dotted_in_groups,
    "reduce_sum": summed,
    "reshape": reshaped,
    "rev": turned,
    "slice": sliced,
    "split": sliced,
    "squeeze": squeezed,
    "stack": stacked,
    "transpose": transposed,
    "unstack": unstacked,
}
