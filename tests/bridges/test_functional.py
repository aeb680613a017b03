"""The bridges' package is light: Flax is loaded by the module that needs it."""

import json
import subprocess
import sys

import pytest

from jaxcompress import bridges


def test_flax_is_not_loaded_before_a_framework_is_touched():
    program = (
        "import json, sys, jaxcompress; jaxcompress.bridges.recalibrate;"
        " print(json.dumps('flax' in sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert json.loads(shown.stdout) is False


def test_the_frameworks_are_listed_and_others_are_not_there():
    assert {"linen", "nnx", "recalibrate", "Functional"} <= set(dir(bridges))
    with pytest.raises(AttributeError, match=r"'jaxcompress.bridges' has no attribute 'keras'"):
        _ = bridges.keras
