# Everything runs in an environment of its own, .venv, made from the project's files alone: the core for the
# demonstration, all extras and tools for the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build is enough everywhere; a looser requirement may bring gigabytes of CUDA along.
TORCH ?= torch==2.13.0
DEMO := recordings/deploy
# A folder with the data sets of experiments (tracemend datasets list); what fetch has brought if empty.
DATA ?=

.PHONY: demo test test-long lint fmt types docs site env corpus reproduce-smoke peers clean

demo: $(VENV)/core ## set up, mend a really lossy recording, compare with the complete one
	@rm -rf out/demo && mkdir -p out
	$(BIN)/tracemend scan $(DEMO)/lossy.txt || test $$? -eq 3
	$(BIN)/tracemend mend $(DEMO)/lossy.txt -o out/demo --merged --perfetto
	@$(BIN)/tracemend strip out/demo | cmp - $(DEMO)/lossy.txt && echo "strip gives back the original, byte for byte"
	$(BIN)/tracemend evaluate $(DEMO)/lossy.txt $(DEMO)/complete.txt.xz --jobs 2
	@echo "The report lies at out/demo/report.html; out/demo/trace.perfetto-trace is for ui.perfetto.dev"

test: $(VENV)/ready ## the quick tests, in a few minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long"

test-long: $(VENV)/ready ## the others: what takes a second or longer, up to whole recordings and networks of the paper's size
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

lint: $(VENV)/ready ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fmt: $(VENV)/ready ## put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/ready ## write the tables and figures of README and docs again from the results files
	$(BIN)/python scripts/make_docs.py

site: $(VENV)/ready ## the documentation as pages of HTML, out/site
	$(BIN)/zensical build --strict

corpus: $(VENV)/ready ## record the training data again (root, tracefs, the packages of --packages)
	$(BIN)/python scripts/record_corpus.py

reproduce-smoke: $(VENV)/ready ## a reduced grid of the study in a few minutes, with its tables and figures
	@mkdir -p out && rm -rf out/smoke out/smoke.jsonl
	$(BIN)/tracemend experiment experiments/smoke.toml -o out/smoke.jsonl --models out/smoke-models $(if $(DATA),--from $(DATA))
	$(BIN)/tracemend report out/smoke.jsonl -o out/smoke --figures

peers: $(VENV)-peers/ready ## another project's models on the same windows, in an environment of their own
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/peers.py $(if $(DATA),--from $(DATA))

env: $(VENV)/ready

$(VENV)/core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/ready: $(VENV)/core
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

$(VENV)-peers/ready: benchmarks/peers.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet "$(TORCH)"
	$(VENV)-peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	$(VENV)-peers/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-peers out
