"""GPTQ of whole models: stacks and convolutions, in both layouts of a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, reconstruct
from jaxcompress.quantize.rounding import gptq

LAYOUTS = {"HWIO": (0, 1, 2, 3), "OIHW": (3, 2, 0, 1)}
DATA = np.random.default_rng(0)
X = jnp.asarray(DATA.standard_normal((24, 5, 5, 3)) @ DATA.standard_normal((3, 3)), jnp.float32)
KERNEL = jnp.asarray(DATA.standard_normal((2, 2, 3, 6)) / 3, jnp.float32)
LAYERS = jnp.asarray(DATA.standard_normal((3, 6, 6)) / 2, jnp.float32)


def model(layout: str):
    """A convolution and a scanned stack, and its parameters."""

    def fn(params, x):
        numbers = ("NHWC", layout, "NHWC")
        x = jax.lax.conv_general_dilated(x, params["conv"], (1, 1), "VALID", None, None, numbers)
        x = jnp.mean(jax.nn.relu(x), axis=(1, 2))
        return jax.lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["layers"])[0]

    return fn, {"conv": jnp.transpose(KERNEL, LAYOUTS[layout]), "layers": LAYERS}


@pytest.fixture(scope="module")
def solved():
    spec = formats.int3()
    return {
        layout: reconstruct(*model(layout), [X[:12], X[12:]], spec, gptq(sweeps=0))
        for layout in LAYOUTS
    }


def test_both_layouts_get_the_same_codes(solved):
    one, other = (solved[layout][0] for layout in LAYOUTS)
    # Inputs of a convolution are read in the order in which its kernel lies.
    conv = jnp.transpose(other["conv"].materialize(), np.argsort(LAYOUTS["OIHW"]))
    np.testing.assert_array_equal(one["conv"].materialize(), conv)
    np.testing.assert_array_equal(one["layers"].codes, other["layers"].codes)


def test_outputs_are_nearer_than_by_rounding_to_nearest(solved):
    fn, params = model("HWIO")
    expected = fn(params, X)
    closest, _ = jc.quantize.quantize(params, formats.int3(), axes=jc.graph.axes(fn, params, X))
    errors = [
        float(jnp.mean((fn(jc.materialize(each), X) - expected) ** 2))
        for each in (solved["HWIO"][0], closest)
    ]
    assert errors[0] < errors[1]


def test_the_report_tells_that_data_were_used(solved):
    rows = {row.name: row for row in solved["OIHW"][1].leaves}
    assert {row.reason for row in rows.values()} == {"rounded on its inputs"}
    assert rows["layers"].action == "int3 per channel"
