"""Imports run downwards, frameworks stay in the bridges, importing computes nothing."""

import ast
import graphlib
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest

import jaxcompress

PACKAGE = pathlib.Path(__file__).parent.parent / "jaxcompress"

FLOORS = {
    "core": 0,
    "graph": 1,
    "kernels": 1,
    "layerwise": 2,
    "adapt": 3,
    "optimizers": 3,
    "prune": 3,
    "quantize": 3,
    "distill": 3,
    "structure": 3,
    "storage": 4,
    "train": 4,
    "validate": 4,
    "auto": 5,
    "report": 6,
    "bridges": 6,
    "demo": 7,
    "cli": 8,
    "observers": 1,
    "schedules": 1,
    "__main__": 9,
}
MAY_IMPORT_BRIDGES = {"demo", "cli"}
FRAMEWORKS = {
    "flax": {"bridges", "demo"},
    "equinox": {"bridges"},
    "haiku": {"bridges"},
}
"""By framework the rooms that may import it."""
MAY_IMPORT_FRAMEWORKS = {"bridges", "demo"}

# Slow to import or not always installed: whoever needs one imports it where it is used.
LAZY = ("equinox", "flax", "haiku", "matplotlib", "orbax", "rich", "scipy.stats", "sklearn")


def room(module: str) -> str:
    """`prune` of `jaxcompress.prune.criteria`; empty for the top of the package."""
    return module.removeprefix("jaxcompress").lstrip(".").partition(".")[0]


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imported(source: str) -> set[str]:
    """Every module that `source` imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            # ruff bans relative imports, so `node.module` is always there.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def breaches(owner: str, source: str) -> list[str]:
    """What the imports of a file in the room `owner` do against the floors."""
    found = []
    for name in sorted(imported(source)):
        framework = name.partition(".")[0]
        if framework in FRAMEWORKS and owner not in FRAMEWORKS[framework]:
            found.append(f"{owner} imports {name}; only the bridges know frameworks")
        if name.partition(".")[0] != "jaxcompress" or room(name) == owner:
            continue
        target = room(name)
        if target not in FLOORS:
            found.append(f"{owner} imports {name}; name the room it comes from")
        elif FLOORS[target] >= FLOORS[owner]:
            found.append(f"{owner} (floor {FLOORS[owner]}) imports {name} (floor {FLOORS[target]})")
        elif target == "bridges" and owner not in MAY_IMPORT_BRIDGES:
            found.append(f"{owner} imports {name}; only the user, the demo and the cli do")
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room(module_name(path)))


def test_every_room_has_a_floor():
    assert FILES
    assert {room(module_name(path)) for path in FILES} <= FLOORS.keys()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_downwards(path):
    assert breaches(room(module_name(path)), path.read_text()) == []


@pytest.mark.parametrize(
    ("owner", "source", "allowed"),
    [
        ("prune", "from jaxcompress.core.masks import ones", True),
        ("prune", "import jaxcompress.prune.criteria", True),
        ("prune", "import flaxen", True),
        ("cli", "from jaxcompress import demo, storage", True),
        ("demo", "from jaxcompress.bridges import nnx\nimport flax", True),
        ("prune", "from jaxcompress.quantize import int8", False),
        ("prune", "from jaxcompress.layerwise import Solver", True),
        ("layerwise", "from jaxcompress.prune import solvers", False),
        ("core", "import jaxcompress.graph", False),
        ("core", "def late():\n    from jaxcompress import graph", False),
        ("graph", "from jaxcompress import QTensor", False),
        ("graph", "import jaxcompress", False),
        ("storage", "from flax import nnx", False),
        ("demo", "import equinox", False),
        ("bridges", "import haiku", True),
        ("demo", "import jaxcompress.cli", False),
        ("report", "from jaxcompress.bridges import linen", False),
    ],
)
def test_a_breach_is_seen(owner, source, allowed):
    assert (breaches(owner, source) == []) is allowed


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def dependencies(source: str, own: str, modules) -> set[str]:
    """The files that a file imports, also inside functions and only for types."""
    found = set()
    for name in imported(source):
        while name and name not in modules:
            name = name.rpartition(".")[0]
        found |= {name} - {"", own}
    return found


def circle(sources: dict[str, str]) -> list[str]:
    """Files that import one another in turn, the first one again at the end."""
    graph = {name: dependencies(source, name, sources) for name, source in sources.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_files_import_one_another_in_no_circle():
    assert circle({name: path.read_text() for name, path in MODULES.items()}) == []


@pytest.mark.parametrize(
    ("late", "found"),
    [
        ("import jaxcompress.a", True),
        ("def call():\n    from jaxcompress.a import name", True),
        ("if typing.TYPE_CHECKING:\n    from jaxcompress.a import name", True),
        ("from jaxcompress.c import name", False),
    ],
)
def test_a_circle_is_seen(late, found):
    sources = {"jaxcompress.a": "from jaxcompress import b", "jaxcompress.b": late}
    assert bool(circle(sources | {"jaxcompress.c": ""})) is found


LONGEST = 300


def test_files_are_short():
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


HEADINGS = {
    "Args",
    "Returns",
    "Yields",
    "Raises",
    "Attributes",
    "Invariants",
    "Example",
    "Glossary",
}
HEADING = re.compile(r"^([A-Z][A-Za-z ]+):\n(?=\s)", re.MULTILINE)
"""What the reference takes for one: words, a colon, and then no text at the margin."""


def headings(source: str) -> set[str]:
    """The headings of the docstrings of a file."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    return {name for text in texts for name in HEADING.findall(text)}


@pytest.mark.parametrize("path", [PACKAGE / "__init__.py", *FILES], ids=module_name)
def test_sections_of_docstrings_have_one_name_each(path):
    assert headings(path.read_text()) <= HEADINGS


def test_a_heading_is_seen():
    assert headings('def f():\n    """Gives.\n\n    Fields:\n      x: it.\n    """') == {"Fields"}


def exports(module: str) -> dict[str, str]:
    """By the name that a package re-exports under, the module or member that it is.

    Of what type checkers alone read, its own files, such as rooms, do not count.
    """
    tree = ast.parse(MODULES[module].read_text())
    late = [node for each in tree.body if isinstance(each, ast.If) for node in each.body]
    late = [node for node in late if getattr(node, "module", module) != module]
    return {
        alias.asname: f"{node.module}.{alias.name}"
        for node in (*tree.body, *late)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


TOPS = ["jaxcompress", *(f"jaxcompress.{name}" for name in FLOORS if name != "optimizers")]
TOPS = [name for name in TOPS if name in MODULES and MODULES[name].name == "__init__.py"]
MOST_NAMES, MOST_PARAMETERS = 275, 6


def test_the_tops_of_rooms_export_few_names():
    """The optimizers, which are flat as in optax, apart."""
    counts = {module: len(exports(module)) for module in TOPS}
    assert min(len(TOPS), sum(counts.values())) > 10
    assert sum(counts.values()) <= MOST_NAMES, counts


def public_functions(module: str) -> dict[str, types.FunctionType]:
    """The functions that a room exports, its families' among them."""
    found = {}
    for name, target in exports(module).items():
        if target in MODULES:
            found |= public_functions(target)
        else:
            found[f"{module}.{name}"] = getattr(importlib.import_module(module), name)
    return {name: value for name, value in found.items() if inspect.isfunction(value)}


def test_submodules_are_imported_by_the_names_that_help_lists():
    listed = {
        f"{module}.{name}": target
        for module in TOPS
        for name, target in exports(module).items()
        if target in MODULES
    }
    assert "jaxcompress.schedules" in listed
    for name, target in listed.items():
        assert importlib.import_module(name) is importlib.import_module(target)


@pytest.mark.parametrize("module", TOPS)
def test_public_functions_take_few_parameters(module):
    counts = {
        name: len(inspect.signature(function).parameters)
        for name, function in public_functions(module).items()
    }
    assert {name for name, count in counts.items() if count > MOST_PARAMETERS} == set()


def answer(program: str):
    """What `program` prints as JSON in a process where no JAX backend can start."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        check=False,
        cwd=PACKAGE.parent,
        env=os.environ | {"JAX_PLATFORMS": "nonexistent"},
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_top_level_import_is_light():
    program = "import json, sys, jaxcompress; print(json.dumps(sorted(sys.modules)))"
    loaded = answer(program)
    assert "jaxcompress.core" in loaded
    assert [name for name in ("jax", "numpy", "optax", *LAZY) if name in loaded] == []


def test_what_the_top_loads_late_is_light_too():
    program = """
import json, sys, jaxcompress as jc
for name in set(dir(jc)) - {"bridges"}:
    getattr(jc, name)
print(json.dumps(sorted(sys.modules)))
"""
    loaded = answer(program)
    assert "jax" in loaded
    assert [name for name in LAZY if name in loaded] == []


def test_the_top_loads_each_name_from_where_type_checkers_find_it():
    named = exports("jaxcompress")
    assert set(named) < set(dir(jaxcompress))
    for name, target in named.items():
        owner, _, member = target.rpartition(".")
        expected = getattr(importlib.import_module(owner), member)
        assert getattr(jaxcompress, name) is expected


def test_importing_every_module_starts_no_backend_and_needs_no_framework():
    alone = [
        module_name(path) for path in FILES if room(module_name(path)) not in MAY_IMPORT_FRAMEWORKS
    ]
    program = f"""
import importlib, json, sys
import jax
sys.modules.update(dict.fromkeys({list(FRAMEWORKS)}))
for name in {alone}:
    importlib.import_module(name)
try:
    jax.devices()
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
    assert "nonexistent" in answer(program)


def test_importing_the_bridges_starts_no_backend():
    for framework in FRAMEWORKS:
        pytest.importorskip(framework)
    bridges = [
        module_name(path) for path in FILES if room(module_name(path)) in MAY_IMPORT_FRAMEWORKS
    ]
    program = f"""
import importlib, json, warnings
import jax
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what importing a framework warns of is its own to mend
    import equinox, flax.nnx, haiku
for name in {bridges}:
    importlib.import_module(name)
try:
    jax.devices()
except RuntimeError as error:
    print(json.dumps(str(error)))
"""
    assert "nonexistent" in answer(program)


DRAWS = {"cauchy", "exponential", "gumbel", "laplace", "logistic", "normal", "uniform"}
"""Of `jax.random`, those whose third argument is the dtype; none means the widest."""


def undecided_draws(source: str) -> list[int]:
    """Lines that draw floats of no stated dtype: others where there are 64 bits."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func) in {f"jax.random.{name}" for name in DRAWS}
        and len(call.args) < 3
        and "dtype" not in {keyword.arg for keyword in call.keywords}
    ]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_draws_have_a_dtype(path):
    assert undecided_draws(path.read_text()) == []


def test_a_draw_without_a_dtype_is_seen():
    assert undecided_draws("jax.random.normal(key, (2,))\njax.random.normal(key, (2,), d)") == [1]
