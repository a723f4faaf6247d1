# Two targets, each from nothing but Python 3.11 or newer:
#   make demo   trains PureCC on one embedded concept, scores it and writes its report
#   make test   style, types and tests
# Another Python: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test

demo: $(VENV)/.ready
	$(PY) -m bench +method=purecc concept=whole_cat

test: $(VENV)/.ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy bench methods metrics
	$(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

# A stamp is touched when everything is in place, so a second call sets nothing up again;
# pip is the last thing a new environment gets, so one that lacks it was interrupted.
define set_up
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Concept Bench needs Python 3.11 or newer and this one is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
endef

$(VENV)/.ready: pyproject.toml
	$(set_up)
	@echo 'installing into $(VENV): torch and what goes with it, about 6 GB, some minutes'
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml
	$(set_up)
	@echo 'installing into $(VENV): torch and what goes with it, about 6 GB, some minutes'
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.ready
