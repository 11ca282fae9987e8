# One command per wish. The first one makes .venv (a few minutes); later ones start at once.
PYTHON ?= python3
BIN := .venv/bin
# The name of this file carries a checksum of the pins: other pins, another file, a new install.
READY := .venv/ready-$(shell cksum < requirements.txt | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: setup book test lab links bench results course clean help

setup: $(READY) ## make .venv and nothing else

book: $(READY) ## run the notebooks that changed and build the book
	@$(BIN)/python book/build.py

test: book ## the book, then all tests, two at a time (the browser tests need Chromium)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lab: $(READY) ## open the notebooks in JupyterLab
	@[ "$$(id -u)" != 0 ] || { echo "JupyterLab does not run as root: become another user. In a container that" \
		"holds nothing else, you may run $(BIN)/jupyter lab --allow-root notebooks."; exit 1; }
	@$(BIN)/jupyter lab notebooks

links: book ## ask every link that leads out of the book whether it still does
	@$(BIN)/jupyter-book build . --builder linkcheck --quiet

bench: $(READY) ## compare speed and memory with peers: each benchmarks/*.py
	@for script in $(sort $(wildcard benchmarks/[!_]*.py)); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

results: $(READY) ## recompute what takes longer than a chapter may: the training, then each results/*.py
	@for script in results/training.py $(filter-out results/training.py,$(sort $(wildcard results/[!_]*.py))); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

course: $(READY) ## write course/student (no solutions) and course/instructor
	@$(BIN)/python -m geoclip_lite.course notebooks course

clean: ## remove what was built; .venv and downloads stay
	@rm -rf _build course .cache/executed .pytest_cache .ruff_cache .hypothesis
	@find book geoclip_lite notebooks results tests benchmarks \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@rm -f .venv/ready-*
	@touch $@
