"""The commonest slips: each is refused where it is made, with what was meant."""

import functools

import jax
import jax.numpy as jnp
import pytest

import jaxcompress as jc

PARAMS = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}
MODULE = {"layers": [{"weight": jnp.ones((4, 4))}], "activation": jax.nn.relu}
FORMATS = jc.quantize.formats


def model(params, x):
    return x @ params["kernel"]


SPECS = [
    ("int8", "spec='int8'.* Did you mean formats.int8\\(\\)\\?"),
    (jc.quantize.int8, "spec=int8.* Did you mean int8\\(\\.\\.\\.\\), which gives one\\?"),
    ({"*": jc.quantize.int8()}, "spec={'\\*': .* Did you mean Rules\\({\\.\\.\\.}\\)\\?"),
    (jc.Rules({"*": jc.quantize.int4}), "spec=int4.* Did you mean int4\\(\\.\\.\\.\\)"),
    (jc.quantize.execution.dynamic(), "spec=Activations.* must be of type QuantSpec"),
    (8, "spec=8\\) must be of type QuantSpec, not int. Call a format"),
]
TAKE_SPECS = {
    "quantize": functools.partial(jc.quantize.quantize, PARAMS),
    "fake_quantize": jc.quantize.fake_quantize,
    "fake_quantize_model": functools.partial(jc.quantize.fake_quantize_model, model),
}


@pytest.mark.parametrize("caller", TAKE_SPECS)
@pytest.mark.parametrize(("spec", "message"), SPECS)
def test_what_is_no_format(caller, spec, message):
    with pytest.raises(TypeError, match=f"^{caller}\\({message}"):
        TAKE_SPECS[caller](spec)


QUANTIZED = functools.partial(jc.quantize.quantize, PARAMS, jc.quantize.int8())
CALLS = {
    "letters as rules": (
        lambda: jc.Rules("int8"),
        r"^Rules\(pairs='int8'\) must be a dict from pattern to value",
    ),
    "a range as estimator": (
        lambda: QUANTIZED(ranges=(-1.0, 1.0)),
        r"^quantize\(ranges=\(-1.0, 1.0\)\) must be a function. Pass an estimator, as ranges.min_m",
    ),
    "an estimator called": (
        lambda: QUANTIZED(ranges=jc.quantize.ranges.moving_average(decay=0.5)),
        r"^quantize\(ranges=Observer.* bind its options with functools.partial",
    ),
    "params as axes": (
        lambda: QUANTIZED(axes=PARAMS),
        r"^quantize\(axes=...\) holds float32\[4\] at 'bias', no LeafAxes. Make it with graph.axes",
    ),
    "a selector uncalled": (
        lambda: QUANTIZED(select=jc.weights),
        r"^quantize\(select=weights\).* Did you mean weights\(...\)",
    ),
    "a selector of one bool": (
        lambda: QUANTIZED(select=lambda params: True),
        r"^quantize\(select=<lambda>\) gives 'nothing' at 'bias', and must give a bool",
    ),
    "a selector of names": (
        lambda: QUANTIZED(select=lambda params: jc.leaf_names(params)),
        r"^quantize\(select=<lambda>\) gives 'bias' at 'bias', and must give a bool for every",
    ),
    "data as activations": (
        lambda: jc.quantize.fake_quantize_activations(model, {"*": jc.quantize.int8()}),
        r"^fake_quantize_activations\(activations=.* Did you mean Rules\({...}\)\?",
    ),
}


@pytest.mark.parametrize("slip", CALLS)
def test_slips(slip):
    call, message = CALLS[slip]
    with pytest.raises(TypeError, match=message):
        call()


MODULES = {
    "quantize": lambda params: jc.quantize.quantize(params, jc.quantize.int8()),
    "fake_quantize": lambda params: jc.quantize.fake_quantize(jc.quantize.int8())(params),
    "explain": lambda params: jc.quantize.explain(params),
}


@pytest.mark.parametrize("caller", MODULES)
def test_a_module_with_its_functions(caller):
    message = rf"^{caller}\((params|tree)=...\): leaf 'activation' is relu .* its bridge in jc.bri"
    with pytest.raises(TypeError, match=message):
        MODULES[caller](MODULE)
