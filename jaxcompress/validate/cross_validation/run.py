"""Cross-validation: a recipe is fitted and judged once per fold."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import count_of, whole_rows
from jaxcompress.core.checks import KnownValueError, check_concrete, check_count, check_fits
from jaxcompress.core.finite import NotFiniteError, not_finite
from jaxcompress.core.kinds import check_key, check_takes
from jaxcompress.core.labels import Shown
from jaxcompress.core.progress import bar
from jaxcompress.core.types import Fit, Key, PyTree
from jaxcompress.validate.cross_validation import program
from jaxcompress.validate.cross_validation.candidate import USABLE, Evaluate
from jaxcompress.validate.cross_validation.results import CrossValidation, Values
from jaxcompress.validate.cross_validation.tracing import compiled
from jaxcompress.validate.judging import judging
from jaxcompress.validate.splits.fold import Fold
from jaxcompress.validate.splits.listed import from_any


def cross_validate(
    fit: Fit,
    evaluate: Evaluate,
    data: PyTree,
    splits: Any,
    *,
    key: Key,
    at_once: int | None = None,
) -> CrossValidation:
    """Values of examples by models that were trained without them, fold by fold.

    Not for: choosing among recipes by its scores, which then look too good; take
    `nested_cross_validate`.

    All folds run in one compiled program, side by side, where the recipe can be traced.
    There, training rows are filled up to the longest fold by rows of weight 0, which
    are training rows of the same fold, and test rows likewise, and dropped. Folds run
    in turn where the recipe needs values while it runs, or would be too long a program
    because of a loop in Python; the result says why. Then each gets its own rows, all
    of weight 1, in NumPy where the data are.

    `fit` may hold all that is done to training examples: preprocessing (see
    `cross_validation.prepared`), training, pruning, quantization. So the recipe is
    validated, not one model that came from it.

    Args:
      fit: `fit(examples, weights, key) -> model`, any tree or object; weights (n,)
        float32 are 0 for an example that only fills up the array. What it keeps outside
        of the model may be traced.
      evaluate: `evaluate(model, examples) -> values`, a dict of arrays with first axis
        n, each example judged by itself; one array counts as {"score": array}. Values
        (n,), such as losses or whether answers are right, have scores; others, such as
        outputs, are kept. `cross_validation.evaluating(model)` gives one.
      data: tree of arrays with first axis n, such as (x, labels).
      splits: folds from `validate.splits`, pairs of index arrays, or a splitter of
        scikit-learn's kind; it gets the second part of data (x, labels) as y.
      key: a random key; fold i gets `jax.random.fold_in(key, i)`.
      at_once: folds side by side in the one program, whose memory grows with them; None
        for all, 0 for none: in turn, without trying to trace.

    Returns:
      The values by fold, with scores, intervals, and why folds ran in turn.

    Raises:
      TypeError: an argument is of another kind; what `evaluate` gives is no such dict.
      ValueError: arrays disagree on n, a fold is wrong (see `splits.listed`), a value
        has another first axis than n or is not finite; then data that are not finite
        are named. The first two are found before anything is trained.

    Example:
      >>> x = jnp.arange(8.0)
      >>> result = jc.validate.cross_validate(
      ...     lambda x, weights, key: jnp.average(x, weights=weights),
      ...     lambda mean, x: {"error": jnp.abs(x - mean)},
      ...     x,
      ...     jc.validate.splits.k_fold(8, folds=4, seed=None),
      ...     key=jax.random.key(0),
      ... )
      >>> print(result)
      4 folds in one program
      error  2.667  (−1.076 to 6.409)

    Also known as: `cross_val_score`, `cross_validate`, `cross_val_predict`.

    Source: Stone 1974, J. R. Stat. Soc. B 36.
    """
    mend = "It is fit(examples, weights, key) -> model."
    check_takes("cross_validate", "fit", fit, 3, mend)
    mend = "It is evaluate(model, examples) -> a dict of arrays."
    check_takes("cross_validate", "evaluate", evaluate, 2, mend)
    check_concrete("cross_validate", data=data)
    n = count_of("cross_validate", "data", data)
    check_key("cross_validate", "key", key)
    if at_once is not None:
        at_once = check_count("cross_validate", "at_once", at_once, least=0)
    folds = from_any("cross_validate", "splits", splits, n, _labels(data))
    return on_folds(fit, evaluate, data, folds, program.fold_keys(key, len(folds)), at_once)


def on_folds(
    fit: Fit, evaluate: Evaluate, data: PyTree, folds: list[Fold], keys: Key, at_once: int | None
) -> CrossValidation:
    """What `cross_validate` gives, of checked arguments and one key per fold."""
    data = whole_rows(data)
    evaluate = judging("cross_validate", "evaluate", evaluate, "Pass evaluating(fn).")
    reason = _unfit(data) if at_once != 0 else "at_once is 0"
    try:
        if not reason:
            found = _in_one_program(fit, evaluate, data, folds, keys, at_once or len(folds))
            if not isinstance(found, str):
                return CrossValidation(tuple(folds), tuple(found))
            reason = found
        return CrossValidation(tuple(folds), _in_turn(fit, evaluate, data, folds, keys), reason)
    except NotFiniteError as error:
        if said := not_finite("data", data):
            raise NotFiniteError(f"cross_validate(data): {said}") from error
        raise


def _in_one_program(
    fit: Fit, evaluate: Evaluate, data: PyTree, folds: list[Fold], keys: Key, at_once: int
) -> list[Values] | str:
    """The values of all folds, or why they cannot be computed in one program."""
    check_fits("cross_validate", data=data)
    most_test, names, known = max(fold.test.size for fold in folds), [], _known(data)

    def judged(model: PyTree, examples: PyTree) -> dict[str, jax.Array]:
        _show(evaluate, model, known)
        values = _named(evaluate(model, examples), most_test)
        names[:] = values  # which a compiled program gives in alphabetical order
        return values

    rows = program.in_chunks(program.padded(folds, keys), at_once)
    data = jax.tree.map(jnp.asarray, data)
    run = compiled(program.program(fit, judged), data, rows)
    if isinstance(run, str):
        return run
    values = jax.device_get(run(data, rows))
    found = program.apart({name: values[name] for name in names}, folds)
    for number, each in enumerate(found):
        _check_finite(each, number, folds[number])
    return found


def _known(data: PyTree) -> PyTree:
    """The data as NumPy arrays, but for images and the like, which are no targets."""
    return jax.tree.map(
        lambda leaf: (
            np.asarray(leaf).view(Shown)
            if leaf.ndim < 3 and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        ),
        data,
    )


def _show(evaluate: Evaluate, model: PyTree, known: PyTree) -> None:
    """Shows the data to metrics, which cannot see values in the program.

    Raises:
      KnownValueError: a label is out of range, or another target is refused.
    """
    try:
        jax.eval_shape(lambda: evaluate(model, known))
    except Exception as error:
        # A function may need JAX's arrays or a fold's size, which the program has.
        if isinstance(error, KnownValueError):
            raise


def _in_turn(
    fit: Fit, evaluate: Evaluate, data: PyTree, folds: list[Fold], keys: Key
) -> tuple[Values, ...]:
    found = []
    with bar("cross-validation", len(folds)) as advance:
        for number, (train, test) in enumerate(folds):
            rows, others = (
                jax.tree.map(lambda array, part=part: array[part], data) for part in (train, test)
            )
            model = fit(rows, jnp.ones(train.size, jnp.float32), keys[number])
            values = _named(evaluate(model, others), test.size)
            found.append({name: np.asarray(value) for name, value in values.items()})
            _check_finite(found[-1], number, folds[number])
            advance(number + 1, "")
    return tuple(found)


def _labels(data: PyTree) -> np.ndarray | None:
    """The second part of (x, labels), for splitters by class."""
    if isinstance(data, tuple | list) and len(data) > 1 and np.ndim(data[1]) == 1:
        return np.asarray(data[1])
    return None


def _unfit(data: PyTree) -> str:
    """Why the data cannot be in a program; empty where they can."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        kind = getattr(leaf, "dtype", np.dtype(object))
        if isinstance(leaf, np.ndarray) and kind.kind not in "biufcV":
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"the data hold {kind} at {name!r}, which is not for JAX"
    return ""


def _named(values: Any, n: int) -> dict[str, Any]:
    named = values if isinstance(values, dict) else {"score": values}
    for name, value in named.items():
        if not isinstance(name, str) or not hasattr(value, "shape"):
            raise TypeError(
                f"cross_validate(evaluate) gives {type(value).__name__} for {name!r}, and must "
                "give a dict of arrays by name, or one array."
            )
        if value.shape[:1] != (n,):
            raise ValueError(
                f"cross_validate(evaluate): {name!r} has shape {tuple(value.shape)} for {n} "
                "examples; its first axis must be the examples'. Give values per example: means "
                "over them are taken by fold."
            )
    if not named:
        raise ValueError("cross_validate(evaluate) gives an empty dict. Give values by name.")
    return named


def _check_finite(values: Values, number: int, fold: Fold) -> None:
    """Raises where outputs or values are not finite; takes out what only says so."""
    usable = values.pop(USABLE, np.ones(fold.test.size, bool))
    if not usable.all():
        raise NotFiniteError(
            f"cross_validate(evaluate): in fold {number} the model's outputs of {np.sum(~usable)} "
            f"of {usable.size} examples hold NaN or +inf, the first is example "
            f"{fold.test[usable.argmin()]}. Training diverged there."
        )
    for name, value in values.items():
        # By JAX, to which bfloat16 is a floating dtype.
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            continue
        bad = ~np.isfinite(value).reshape(len(value), -1).all(-1)
        if bad.any():
            raise NotFiniteError(
                f"cross_validate(evaluate): in fold {number} {name!r} is not finite for "
                f"{bad.sum()} of {bad.size} examples, the first is example "
                f"{fold.test[bad.argmax()]}. Training diverged there, or the example is rated "
                "impossible."
            )
