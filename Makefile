# Needs git, make and Python 3.10 or newer with its venv module. Everything goes into .venv beside this file.
#   make demo      draw faces, train the small network, explain it, write a report   (ARGS="--quick --out DIR")
#   make test      run every notebook and the tests in tests/                        (ARGS="-k packaging")
#   make lab       open JupyterLab on the lessons
#   make notebooks execute the lessons and keep their outputs                        (NAMES="10_squeeze_excitation")
#   make export    write the modules from the notebooks, and clean the notebooks
#   make readme    write README.md from nbs/index.ipynb
#   make check     notebooks, modules and README agree; ruff
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN = "$(VENV)"/bin
# Two notebooks at a time with one thread each: on two cores more of either is slower.
WORKERS ?= 2
STAMP = $(VENV)/installed-for

.PHONY: help install demo test lab notebooks export readme check FORCE

help:
	@sed -n 's/^#   //p' Makefile

# Installed again when a requirement changed, when the folder was moved, or when the last install broke off.
ifneq ("$(shell cat "$(VENV)/installed-for" 2>/dev/null)","$(CURDIR)")
REDO = FORCE
endif

install: $(STAMP)

$(STAMP): settings.ini setup.py constraints.txt $(REDO)
	@PYTHON="$${PYTHON:-}" tools/make_venv.sh "$(VENV)"
	@printf '%s' "$(CURDIR)" > "$(VENV)/installed-for"

demo: install
	$(BIN)/affect demo $(ARGS)

test: install
	OMP_NUM_THREADS="$${OMP_NUM_THREADS:-1}" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lab: install
	$(BIN)/python -m jupyterlab --notebook-dir=nbs $(ARGS)

notebooks: install
	$(BIN)/python tools/run_notebooks.py $(NAMES)

export: install
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: install
	$(BIN)/python tools/make_readme.py

check: export
	git diff --exit-code -- nbs affect_nbdev
	@new=$$(git ls-files --others --exclude-standard -- nbs affect_nbdev); \
	if [ -n "$$new" ]; then echo "not in git: $$new" >&2; exit 1; fi
	$(BIN)/python tools/make_readme.py --check
	$(BIN)/ruff check .
