# The commands of a working day: make demo, make test, make lint, make examples-test, make wheel-test,
# make docs, make clean.
# Each makes .venv and installs what it needs on first use, and again when pyproject.toml changes.

PYTHON ?= python3
OUT ?= jaxcompress-demo
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)

ifdef UV
  create = uv venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
  install = uv pip install --quiet --python .venv/bin/python
  uninstall = uv pip uninstall --quiet --python .venv/bin/python
else
  create = $(PYTHON) -m venv --clear .venv
  install = .venv/bin/python -m pip install --quiet --disable-pip-version-check
  uninstall = .venv/bin/python -m pip uninstall --quiet --yes
endif

# Most of the tests' time is compilation: what one run compiled, the next one loads.
test: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.venv/jax-cache
test: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

.PHONY: demo test lint examples-test wheel-test docs oldest without-flax clean
.DEFAULT_GOAL := demo

demo: .venv/demo.installed
	@.venv/bin/jaxcompress demo --out "$(OUT)"

test: .venv/test.installed
	@.venv/bin/python -m pytest -n 2 --dist worksteal

lint: .venv/dev.installed
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/pyright --pythonpath .venv/bin/python
	@.venv/bin/python -m pytest -q -m slow tests/test_types.py

examples-test: .venv/test.installed
	@.venv/bin/python -m pytest -n 2 --dist worksteal -m slow tests/test_examples.py tests/test_gallery.py

wheel-test: .venv/test.installed
	@.venv/bin/python -m pytest -m slow tests/test_wheel.py

docs: .venv/docs.installed
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet

# The workflow's other environments; `make test` then runs in them as they are.
oldest: .venv/test.installed
	@$(install) jax==0.8.0 jaxlib==0.8.0 flax==0.12.0

without-flax: .venv/test.installed
	@$(uninstall) flax orbax-checkpoint

clean:
	@rm -rf .venv build dist site .hypothesis .pytest_cache .ruff_cache jaxcompress-demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.installed: pyproject.toml | .venv/created
	@echo "Installing what 'jaxcompress[$*]' needs into .venv"
	@$(install) --editable '.[$*]'
	@touch $@

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "jaxcompress needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(create)
	@touch $@
