"""The examples run, and print what they promise."""

import importlib.util
import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "examples"
RUNS = {
    "prune_while_training": {"dense", "pruned gradually", "sparse all along"},
    "ship_a_flax_model": {"float32", "int4"},
    "validate_a_recipe": {
        "digits, float32",
        "digits, pruned int8",
        "table, float32",
        "table, pruned int8",
    },
    "transfer": {"fine-tuned", "pruned, 4 bits"},
}


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_and_listed():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(RUNS)
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}.py]({name}.py)" in listed for name in RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs(name, capsys):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    found = loaded(name).main(steps=60)
    assert set(found) == RUNS[name]
    printed = capsys.readouterr().out
    assert all(line in printed for line in RUNS[name])
    # The first is the whole model or the whole state; what follows is smaller.
    (_, size), *rest = found.values()
    assert all(smaller < size for _, smaller in rest)
