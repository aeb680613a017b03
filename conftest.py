"""What holds for every test and doctest: eight CPU devices, no x64, no rank promotion.

The devices are asked for before JAX starts its backend, for the whole suite: on two
cores a single-device computation takes the same time with eight virtual devices as with
one, so no test needs a process of its own. LLVM does not optimize, and XLA's plain
emitters write loops where it still has them: most of the suite's time is compilation,
and XLA's own passes stay. A setting made outside wins.
"""

import gc
import importlib.metadata
import importlib.util
import os
import sys
import threading

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false"
    * importlib.metadata.version("jaxlib").startswith(("0.8.", "0.9.", "0.10.")),
)

# Each worker has its own compilation cache: JAX does not write its files atomically.
if {"JAX_COMPILATION_CACHE_DIR", "PYTEST_XDIST_WORKER"} <= os.environ.keys():
    os.environ["JAX_COMPILATION_CACHE_DIR"] += "/" + os.environ["PYTEST_XDIST_WORKER"]

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress
from jaxcompress.core import timing

jax.config.update("jax_enable_x64", False)
jax.config.update("jax_numpy_rank_promotion", "raise")

# A file that pytest is first to import is bound in its package, over a function of that
# name: `structure/remove.py` over `structure.remove`. So every room is loaded before.
for name in dir(jaxcompress):
    getattr(jaxcompress, name)

# No test reads what a plan timed without a probe of its own, so the fewest rounds do.
timing.SECONDS = 0.01


def serving_many(make):
    """`make`, a maker of MLIR contexts, with each context used for 50 programs in turn.

    JAX makes one for every program and keeps it as long as the program, which took a
    third of these tests' processor time and half of their memory. A context keeps what
    its programs held, so it is not used forever; threads do not share one.
    """
    here = threading.local()

    def context():
        if not getattr(here, "left", 0):
            here.context, here.left = make(), 50
        here.left -= 1
        return here.context

    return context


# JAX has no public way to this; where the private name is gone, tests only take longer.
if hasattr(lowering := sys.modules.get("jax._src.interpreters.mlir"), "make_ir_context"):
    lowering.make_ir_context = serving_many(lowering.make_ir_context)

# JAX makes objects by the hundred thousand and frees most without the collector, which
# would go through those of all modules each time.
gc.freeze()
gc.set_threshold(20_000, 20, 20)

# Where Flax is not installed, its bridges and the demo are not there to be collected;
# nor are the bridges of other frameworks without them.
collect_ignore_glob = [
    f"jaxcompress/bridges/{framework}*"
    for framework in ("equinox", "haiku")
    if importlib.util.find_spec(framework) is None
]
if importlib.util.find_spec("dp_accounting") is None:
    collect_ignore_glob.append("jaxcompress/validate/privacy/account.py")
if importlib.util.find_spec("flax") is None:
    collect_ignore_glob += [
        f"{folder}/{room}/*" for folder in ("jaxcompress", "tests") for room in ("bridges", "demo")
    ]

hypothesis.settings.register_profile(
    "repeatable", database=None, deadline=None, derandomize=True, max_examples=25
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace):
    """The names that a docstring's example may use without importing them."""
    doctest_namespace.update(jax=jax, jc=jaxcompress, jnp=jnp, np=np, optax=optax)
