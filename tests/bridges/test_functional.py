"""The bridges' package is light: a framework is loaded by the module that needs it."""

import json
import subprocess
import sys

import pytest

from jaxcompress import bridges


def test_no_framework_is_loaded_before_it_is_touched():
    program = (
        "import json, sys, jaxcompress; jaxcompress.bridges.Functional;"
        " print(json.dumps(bool({'flax', 'equinox', 'haiku'} & sys.modules.keys())))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert json.loads(shown.stdout) is False


def test_the_frameworks_are_listed_and_others_are_not_there():
    assert {"equinox", "haiku", "linen", "nnx", "Functional"} <= set(dir(bridges))
    with pytest.raises(AttributeError, match=r"'jaxcompress.bridges' has no attribute 'keras'"):
        _ = bridges.keras
