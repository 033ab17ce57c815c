# Everything a developer types; each target makes .venv itself and needs only Python (3.11 or newer) and make.
#
#   make setup      .venv with unmask (editable) and its extras dev, data and demo, at the versions of constraints.txt
#   make demo       trains two small models on real English and writes runs/demo/report.html
#   make test       the fast tests, and what was skipped and why (make test ARGS='-k name' hands more to pytest; JOBS=4)
#   make test-slow  the slow ones, and how long each took
#   make lint       ruff and mypy
#   make clean      removes build products and caches
#   make distclean  removes .venv too
#
# .venv is stamped with the hash of constraints.txt and pyproject.toml, so a second call is instant. A .venv that is
# already there is kept, and so is a torch inside it: install another build (CPU-only, another CUDA) there beforehand.

PYTHON ?= python3
EXTRAS := dev,data,demo
ARGS ?=
JOBS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
HASH := $(shell $(PYTHON) -c "import hashlib, pathlib as p; \
	print(hashlib.sha256(b''.join(p.Path(f).read_bytes() for f in ('constraints.txt', 'pyproject.toml'))).hexdigest()[:16])" 2>/dev/null)
STAMP := $(VENV)/.stamp-$(HASH)

# One thread a process: the models are small, and results then do not depend on the machine's core count.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint clean distclean

help:
	@sed -n '3,9s/^# *//p' Makefile

setup: $(STAMP)

# Extras that are asked for are installed whatever was before: the stamp knows of the usual ones alone.
ifneq ($(origin EXTRAS),file)
.PHONY: $(STAMP)
endif

$(STAMP):
	@command -v $(PYTHON) >/dev/null || { echo "unmask needs Python 3.11 or newer, and '$(PYTHON)' was not found:" \
		"name yours with 'make setup PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@python=$(PYTHON); [ ! -x $(PY) ] || python=$(PY); \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "unmask needs Python 3.11 or newer, and" \
		"$$python is $$($$python -V 2>&1): try 'make setup PYTHON=python3.11' (after 'make distclean' if .venv is older)" >&2; exit 1; }
	@[ -x $(PY) ] || { echo "setup: making $(VENV)" >&2; $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null
	@torch=$$($(PY) -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])' 2>/dev/null) || torch=; \
	pins=$(VENV)/constraints.txt; \
	if [ -n "$$torch" ]; then \
		echo "setup: keeping torch $$torch, which is in $(VENV) already" >&2; \
		sed "s/^torch==.*/torch==$$torch/" constraints.txt > $$pins; \
	else \
		cp constraints.txt $$pins; \
		torch=$$(sed -n 's/^torch==//p' $$pins); \
		echo "setup: installing torch $$torch" >&2; \
		$(PY) -m pip install -qq "torch==$$torch" -c $$pins || exit 1; \
	fi; \
	echo "setup: installing unmask[$(EXTRAS)] (a minute or two)" >&2; \
	$(PY) -m pip install -qq -c $$pins -e '.[$(EXTRAS)]'
	@rm -f $(VENV)/.stamp-* && touch $@
	@echo "setup: done; the command is $(VENV)/bin/unmask" >&2

demo: $(STAMP)
	$(PY) -m unmask experiment demo --out runs/demo

test: $(STAMP)
	$(TEST_ENV) $(PY) -m pytest -q -rs -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(STAMP)
	$(TEST_ENV) $(PY) -m pytest -q -rs -m slow --durations=0 --durations-min=1 $(ARGS)

lint: $(STAMP)
	$(PY) -m ruff check src benchmarks tests
	$(PY) -m mypy

clean:
	rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
