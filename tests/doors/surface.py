"""Every public function, by the name it is called with, and its arguments."""

import importlib.util
import inspect
import typing
from collections.abc import Callable, Iterator

import jaxcompress
from tests import methods

FAMILIES = {
    f"validate_{family}": f"validate.{family}."
    for family in ("comparisons", "leakage", "membership", "metrics", "privacy", "shift")
} | {f"distill_{family}": f"distill.{family}." for family in ("ensembles", "outputs", "sequences")}
"""Families with a table of their own, `validate_leakage.py`, and their prefix."""
NEEDS = {
    "validate.privacy.epsilon": "dp_accounting",
    "validate.privacy.noise_multiplier": "dp_accounting",
}
"""Functions that only run where a package of an extra is installed."""
ROOMS = (*sorted({*jaxcompress._ROOMS} - {"observers", "schedules"}), *FAMILIES)
CLASSES = "classes"
"""Those whose fields are checked as arguments are."""
TOP = "top"
"""What `jc` itself gives, `jc.schedules` and `jc.observers` among it."""


def functions(room: str) -> dict[str, Callable]:
    """The public functions of a room and of its families, by what follows `jc.`."""
    if room == CLASSES:
        return {
            "QuantSpec": jaxcompress.QuantSpec,
            "LeafAxes": jaxcompress.LeafAxes,
            "Rules": jaxcompress.Rules,
            "prune.FisherBlocks": jaxcompress.prune.FisherBlocks,
            "prune.Growth": jaxcompress.prune.Growth,
            "prune.Target": jaxcompress.prune.Target,
            "report.Column": jaxcompress.report.Column,
            "report.Point": jaxcompress.report.Point,
            "report.Table": jaxcompress.report.Table,
            "report.Variant": jaxcompress.report.Variant,
            "report.sections.Bar": jaxcompress.report.sections.Bar,
            "report.sections.Bars": jaxcompress.report.sections.Bars,
            "report.sections.Beside": jaxcompress.report.sections.Beside,
            "report.sections.Folded": jaxcompress.report.sections.Folded,
            "report.sections.Heading": jaxcompress.report.sections.Heading,
            "report.sections.Headline": jaxcompress.report.sections.Headline,
            "report.sections.Paragraph": jaxcompress.report.sections.Paragraph,
            "report.sections.Picture": jaxcompress.report.sections.Picture,
            "report.sections.Preformatted": jaxcompress.report.sections.Preformatted,
            "report.sections.Scatter": jaxcompress.report.sections.Scatter,
            "report.sections.Tiles": jaxcompress.report.sections.Tiles,
            "structure.Cut": jaxcompress.structure.Cut,
            "distill.synthesis.Inversion": jaxcompress.distill.synthesis.Inversion,
            "validate.Card": jaxcompress.validate.Card,
            "train.Checkpoints": jaxcompress.train.Checkpoints,
            "train.Plan": jaxcompress.train.Plan,
            "train.Recipe": jaxcompress.train.Recipe,
            "train.SubsampledGaussian": jaxcompress.train.SubsampledGaussian,
            "train.Watch": jaxcompress.train.Watch,
            "validate.Evaluation": jaxcompress.validate.Evaluation,
            "validate.Figure": jaxcompress.validate.Figure,
            "validate.Finding": jaxcompress.validate.Finding,
            "validate.membership.Shadows": jaxcompress.validate.membership.Shadows,
            "validate.cards.DataRecord": jaxcompress.validate.cards.DataRecord,
            "validate.cards.ModelRecord": jaxcompress.validate.cards.ModelRecord,
            "validate.Score": jaxcompress.validate.Score,
            "validate.leakage.Shared": jaxcompress.validate.leakage.Shared,
            "validate.metrics.Mean": jaxcompress.validate.metrics.Mean,
            "validate.metrics.Metric": jaxcompress.validate.metrics.Metric,
        }
    if room == "bridges":
        return _of_bridges()
    if room in FAMILIES:
        whole = methods.exported(room.partition("_")[0])
        return {
            name: each
            for name, each in whole.items()
            if name.startswith(FAMILIES[room]) and _is_installed(NEEDS.get(name, "numpy"))
        }
    if room != TOP:
        apart = tuple(FAMILIES.values())
        whole = methods.exported(room)
        return {name: each for name, each in whole.items() if not name.startswith(apart)}
    words = {
        name: value
        for name, value in vars(jaxcompress).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    shared = methods.exported("core.schedules") | methods.exported("core.observers")
    return words | {name.removeprefix("core."): value for name, value in shared.items()}


def _of_bridges() -> dict[str, Callable]:
    """Those of the frameworks that are installed."""
    frameworks = {"equinox": "equinox", "haiku": "haiku", "linen": "flax", "nnx": "flax"}
    return {
        f"bridges.{bridge}.{name}": getattr(module, name)
        for bridge, framework in frameworks.items()
        if _is_installed(framework)
        for module in [getattr(jaxcompress.bridges, bridge)]
        for name in dir(module)
        if inspect.isfunction(getattr(module, name))
    }


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def arguments(function: Callable) -> Iterator[str]:
    """The names of what can be passed; keywords of a typed dict count one by one."""
    for parameter in inspect.signature(function).parameters.values():
        typed = typing.get_origin(parameter.annotation) is typing.Unpack
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and typed:
            yield from parameter.annotation.__args__[0].__annotations__
        else:
            yield parameter.name
