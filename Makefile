# `make help` lists the commands. Each makes the environment that it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python from 3.11 to 3.13 that runs.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python
LAB := .venv-lab/bin/python
COLAB := .venv-colab/bin/python

export OMP_NUM_THREADS ?= 2
export PYTHONHASHSEED := 0
# Packages are compiled when they are first imported: keep what that gives.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: book
book: .venv/ready ## build the book into _build/html
	$(RUN) tools/book.py

.PHONY: serve
serve: .venv/ready ## build the book, serve it on localhost, rebuild on change
	rm -rf _build/serve
	$(RUN) -m sphinx_autobuild --pre-build '$(RUN) tools/sync.py' \
		--ignore _build --ignore my_exercises --ignore .venv-lab --ignore .venv-colab \
		--ignore '*.ipynb' --ignore '*/__pycache__/*' \
		--quiet --fail-on-warning --keep-going --nitpicky . _build/serve

.PHONY: lab
lab: .venv-lab/ready ## copy the exercises into my_exercises, open them in JupyterLab
	$(LAB) -m vit_encoder.command lab

.PHONY: exercises
exercises: .venv-lab/ready ## copy the exercises into my_exercises, to work in
	$(LAB) -m vit_encoder.exercises

.PHONY: test
test: programs-test ## everything that must hold: sources, notebooks, package, site
	@$(MAKE) --no-print-directory .venv/ready
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	@# Some tests wait, and the notebooks compute meanwhile.
	$(MAKE) --no-print-directory --jobs 2 notebooks tests

# `book` begins with what check-sources does. Since some tests wait there are more
# processes than cores, each with one thread. tests/conftest.py sets the order.
.PHONY: tests
tests: book
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 4 --dist loadgroup \
		--no-loadscope-reorder

.PHONY: notebooks
notebooks: .venv/ready
	$(RUN) tools/run_notebooks.py

.PHONY: test-colab
test-colab: .venv-colab/ready ## run every notebook with the versions that Colab has
	$(COLAB) -m pip install --quiet --no-deps --no-build-isolation .
	@# Other instructions than those of most machines: what they round alone may differ.
	ATEN_CPU_CAPABILITY=avx2 $(COLAB) tools/run_notebooks.py

.PHONY: test-gpu
test-gpu: .venv/ready ## run every notebook and check on a CUDA machine; record the run
	$(RUN) tools/run_notebooks.py --cuda --record "On a GPU"
	$(RUN) -m pytest --numprocesses 2 tests/test_exercises.py tests/test_fast.py -k cuda

.PHONY: test-in-colab-image
test-in-colab-image: ## inside Colab's container image, with the packages it has
	python3 -m pip install --quiet nbval
	python3 -m pip install --quiet --no-deps .
	python3 tools/run_notebooks.py

.PHONY: record
record: .venv/ready .venv-colab/ready ## record runs on this CPU, with both sets of versions
	$(RUN) tools/run_notebooks.py --record "With the locked versions"
	$(COLAB) -m pip install --quiet --no-deps --no-build-isolation .
	$(COLAB) tools/run_notebooks.py --record "With Colab's versions"

.PHONY: sync
sync: .venv/ready ## regenerate all that is generated; run the notebooks that changed
	$(RUN) tools/sync.py

.PHONY: check-sources
check-sources: .venv/ready ## chapters and exercises are well formed, nothing is stale
	$(RUN) tools/sync.py --check

.PHONY: lighthouse
lighthouse: programs-lighthouse ## measure the built site with Lighthouse
	@$(MAKE) --no-print-directory .venv/ready
	$(RUN) tools/lighthouse.py

.PHONY: pictures
pictures: programs-pictures ## draw the social card and the README's screenshot anew
	@$(MAKE) --no-print-directory .venv/ready
	$(RUN) tools/pictures.py

.PHONY: compare
compare: .venv/ready ## measure anew how timm, torchvision and transformers differ
	PYTHONPATH=tools $(RUN) studies/compare_libraries.py

.PHONY: scaling
scaling: .venv/ready ## measure anew how fast two processes train, for chapter 12
	PYTHONPATH=tools $(RUN) studies/scaling.py

.PHONY: benchmark-grading
benchmark-grading: programs-benchmark-grading ## measure how fast submissions are marked
	@$(MAKE) --no-print-directory .venv/ready
	PYTHONPATH=tools $(RUN) studies/benchmark_grading.py --record

.PHONY: bench
bench: programs-test ## measure how fast the encoder, five libraries and the course are
	@$(MAKE) --no-print-directory .venv/ready book
	PYTHONPATH=tools $(RUN) studies/benchmark_speed.py --fresh

.PHONY: lock
lock: .venv/ready ## resolve the lock files anew from pyproject.toml
	for name in dev:requirements lab:requirements-lab colab:requirements-colab; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --upgrade --group $${name%%:*} \
			--custom-compile-command 'make lock' \
			--output-file $${name##*:}.lock || exit 1; \
	done

.PHONY: clean
clean: ## remove all that the commands made, environments too; my_exercises stays
	rm -rf .venv .venv-lab .venv-colab _build .jupyter_cache .pytest_cache .ruff_cache

# The programs that a command needs beside Python, asked for before anything long.
programs-%:
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.13 is needed."; exit 1; }
	@$(PYTHON) tools/system_packages.py $*

.venv/ready: requirements.lock pyproject.toml tools/environment.py
	@$(MAKE) --no-print-directory programs-environment
	$(PYTHON) tools/environment.py .venv requirements.lock --editable

.venv-lab/ready: requirements-lab.lock pyproject.toml tools/environment.py
	@$(MAKE) --no-print-directory programs-environment
	$(PYTHON) tools/environment.py .venv-lab requirements-lab.lock --editable

.venv-colab/ready: requirements-colab.lock pyproject.toml tools/environment.py
	@$(MAKE) --no-print-directory programs-environment
	$(PYTHON) tools/environment.py .venv-colab requirements-colab.lock
