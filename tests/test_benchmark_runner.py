"""Records are whole and made once, clocks are fair, intervals are Student's."""

import itertools
import json
import math
import time

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import records, runner


def test_a_run_is_measured_once_per_settings_and_seed(tmp_path):
    calls = itertools.count()

    def run(settings, seed):
        return runner.record(
            "layer", lambda: {"call": next(calls)}, settings=settings, seed=seed, out=tmp_path
        )

    first = run({"bits": 8, "group": None}, 0)
    assert run({"group": None, "bits": 8}, 0) == first
    assert run({"bits": 8, "group": None}, 1)["figures"] == {"call": 1}
    assert run({"bits": 4, "group": None}, 0)["figures"] == {"call": 2}
    assert [entry["seed"] for entry in runner.read(tmp_path / "layer.json")] == [0, 1, 0]


def test_a_record_says_where_it_was_made(tmp_path):
    made = runner.record("layer", dict, settings={}, seed=3, out=tmp_path)["environment"]
    assert set(made["versions"]) == {"python", *runner.PACKAGES}
    assert made["versions"]["numpy"] == np.__version__
    assert made["cpu"]
    assert made["cores"] >= 1
    assert made["device_count"] >= 1
    assert runner.version("no-such-package-anywhere") is None


CPUINFO = {
    "hidden by a virtual machine": (
        "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\n"
        "processor\t: 1\ncpu family\t: 0\nmodel\t\t: 0\nmodel name\t: another\n",
        "AMD EPYC (family 26, model 2)",
    ),
    "named in full": (
        "cpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C\n",
        "Intel(R) Xeon(R) Platinum 8481C (family 6, model 143)",
    ),
    "without numbers": ("model name\t: POWER9\n", "POWER9"),
    "without a name": ("processor\t: 0\nBogoMIPS\t: 50.0\n", ""),
}


@pytest.mark.parametrize(("cpuinfo", "name"), CPUINFO.values(), ids=CPUINFO)
def test_a_processor_has_its_numbers_beside_its_name(cpuinfo, name):
    assert runner.named_cpu(cpuinfo.splitlines()) == name


def test_runs_are_counted_by_machine(tmp_path):
    def run(cpu, device="cpu"):
        versions = {"jax": "0.10.2"}
        return {"environment": {"cpu": cpu, "cores": 2, "device": device, "versions": versions}}

    runner.write(tmp_path / "a.json", [run("one"), run("two"), run("two")])
    runner.write(tmp_path / "h200" / "a.json", [run("one", "NVIDIA H200")])
    assert records.rows(tmp_path) == [
        ("a", "2", "two", "2", "–", "0.10.2"),
        ("a", "1", "one", "2", "–", "0.10.2"),
        ("h200/a", "1", "one", "2", "NVIDIA H200", "0.10.2"),
    ]


def test_arrays_and_paths_become_plain_values(tmp_path):
    figures = {"mean": np.float32(0.5), "curve": jnp.arange(3), "file": tmp_path}
    made = runner.record("kinds", lambda: figures, settings={}, seed=0, out=tmp_path)
    assert made["figures"] == {"mean": 0.5, "curve": [0, 1, 2], "file": str(tmp_path)}


@pytest.mark.parametrize(
    ("figure", "error", "message"),
    [(math.nan, ValueError, "not JSON compliant"), ({1, 2}, TypeError, "no form in JSON")],
)
def test_what_json_cannot_hold_leaves_the_file_as_it_was(tmp_path, figure, error, message):
    runner.record("layer", lambda: {"x": 1}, settings={}, seed=0, out=tmp_path)
    before = (tmp_path / "layer.json").read_text()
    with pytest.raises(error, match=message):
        runner.record("layer", lambda: {"x": figure}, settings={}, seed=1, out=tmp_path)
    assert (tmp_path / "layer.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["layer.json"]


def test_results_are_readable_json_with_sorted_keys(tmp_path):
    runner.write(tmp_path / "deep" / "layer.json", [{"b": 1, "a": 2}])
    text = (tmp_path / "deep" / "layer.json").read_text()
    assert text.index('"a"') < text.index('"b"')
    assert json.loads(text) == [{"a": 2, "b": 1}]


def test_functions_take_turns_and_the_first_turn_moves_on():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    timings = runner.interleaved(functions, repeats=2, warmup=1)
    assert "".join(calls) == "abcbcacab"
    assert list(timings) == ["a", "b", "c"]
    assert timings["a"].ratio == 1.0


def test_a_slower_function_has_a_ratio_below_one():
    functions = {"fast": lambda: time.sleep(0.001), "slow": lambda: time.sleep(0.02)}
    timings = runner.interleaved(functions, repeats=3, warmup=0)
    assert timings["slow"].median_seconds >= 0.02
    assert timings["slow"].ratio < 1.0


@pytest.mark.parametrize(
    ("functions", "repeats", "message"),
    [({}, 5, r"calls=\{\}"), ({"a": int}, 1, r"interleaved\(repeats=1\)")],
)
def test_timing_needs_functions_and_rounds(functions, repeats, message):
    with pytest.raises(ValueError, match=message):
        runner.interleaved(functions, repeats=repeats)


def test_summary_is_the_t_interval():
    # Mean 10, variance 10 / 4; t(0.975, 4) = 2.776445 from printed tables.
    found = runner.summary([8.0, 9.0, 10.0, 11.0, 12.0])
    standard_error = math.sqrt(2.5 / 5)
    assert found.count == 5
    assert found.mean == 10.0
    assert found.standard_error == pytest.approx(standard_error)
    assert found.low == pytest.approx(10 - 2.776445 * standard_error, rel=1e-6)
    assert found.high == pytest.approx(10 + 2.776445 * standard_error, rel=1e-6)


def test_one_value_is_its_own_interval():
    assert runner.summary([0.25]) == (1, 0.25, 0.0, 0.25, 0.25)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_summary_takes_finite_figures(values):
    with pytest.raises(ValueError, match=r"summary\(values="):
        runner.summary(values)


def test_the_data_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCOMPRESS_DATA", str(tmp_path))
    assert runner.arguments("Test.").parse_args([]).data == tmp_path
    assert runner.arguments("Test.").parse_args(["--data", "here"]).data.name == "here"
    monkeypatch.delenv("JAXCOMPRESS_DATA")
    assert runner.arguments("Test.").parse_args([]).data is None
