# Fabula. `make help` lists the targets; `make demo` and `make test` need nothing but Python 3.11-3.13, make and pip.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FABULA := $(BIN)/fabula
# cpu or cuda: which faiss to install (never both).
ACCEL ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo cuda || echo cpu)
# Both own the same files: where the other one is, neither would be whole without it.
OTHER_FAISS = $(if $(filter cuda,$(ACCEL)),faiss-cpu,faiss-gpu)
# INSTALL= (empty) uses the environment in VENV as it is.
INSTALL ?= $(VENV)/.installed-$(ACCEL)

# make run
MEDIA ?=
CAPTIONS ?=
ENCODER ?= auto
OUT ?= out/corpus
SEEDS ?= 0 1 2
# make test: processes; each may start a Ray of its own.
TEST_WORKERS ?= 2
# Paths reach the commands through the environment: a quote in a file name must not reach the shell's grammar.
export MEDIA CAPTIONS ENCODER OUT

.DEFAULT_GOAL := help
.PHONY: help install demo demo-seeds reproduce run test test-long check lint clean
.PHONY: bench bench-extract bench-train bench-eval bench-corpus
.PHONY: ingest extract align train embed index evaluate

help: ## list the targets
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed-$(ACCEL): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed-*
	@if $(BIN)/python -m pip show $(OTHER_FAISS) >/dev/null 2>&1; then \
	  $(BIN)/python -m pip uninstall --quiet --yes faiss-cpu faiss-gpu; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$(ACCEL),dev]'
	@touch $@

install: $(INSTALL) ## install into .venv under requirements.lock (ACCEL=cpu|cuda, detected)

demo: $(INSTALL) ## render the demo corpus, run every stage through Ray, print the numbers, ask two questions
	$(FABULA) corpus --config configs/demo.toml
	$(FABULA) run --config configs/demo.toml
	$(FABULA) query --config configs/demo.toml "$$(cat out/demo/corpus/example_sentence.txt)"
	$(FABULA) query --config configs/demo.toml --paragraph out/demo/corpus/example_paragraph.txt

demo-seeds: $(INSTALL) ## the demo with three training seeds, pooled intervals
	$(FABULA) corpus --config configs/demo.toml
	for seed in $(SEEDS); do \
	  $(FABULA) run --config configs/demo.toml --set name=demo-seed$$seed --set train.seed=$$seed || exit 1; done
	$(FABULA) pool --config configs/demo.toml $(foreach seed,$(SEEDS),--name demo-seed$(seed))

# Every line leaves alone what it finds done, so that it can be killed and run again.
REPRODUCE := configs/reproduce
LONGER := longer similar tempclr-dtw tempclr-otam
reproduce: $(INSTALL) ## does it learn: every objective, three seeds, one table; resumable
	$(FABULA) corpus --config $(REPRODUCE)/start.toml
	for seed in $(SEEDS); do \
	  as="--set name=start-seed$$seed --set train.seed=$$seed"; start=out/reproduce/start/seed$$seed; \
	  $(FABULA) run --config $(REPRODUCE)/start.toml $$as || exit 1; \
	  rm -rf $$start; $(FABULA) export --config $(REPRODUCE)/start.toml $$as --to $$start || exit 1; \
	  for method in $(LONGER); do \
	    $(FABULA) run --config $(REPRODUCE)/$$method.toml --set name=$$method-seed$$seed --set train.seed=$$seed \
	      --set train.start=$$start || exit 1; done; \
	  $(FABULA) run --config $(REPRODUCE)/taco.toml --set name=taco-seed$$seed --set train.seed=$$seed || exit 1; \
	  as="--set name=vclr-seed$$seed --set train.seed=$$seed"; vclr=out/reproduce/vclr/seed$$seed; \
	  $(FABULA) run --config $(REPRODUCE)/vclr.toml $$as || exit 1; \
	  rm -rf $$vclr; $(FABULA) export --config $(REPRODUCE)/vclr.toml $$as --to $$vclr || exit 1; \
	  $(FABULA) run --config $(REPRODUCE)/places.toml --set name=places-random-seed$$seed \
	    --set extract.resnet.seed=$$seed || exit 1; \
	  $(FABULA) run --config $(REPRODUCE)/places.toml --set name=places-vclr-seed$$seed \
	    --set extract.resnet.weights=$$vclr/model.safetensors || exit 1; \
	done
	$(FABULA) table $(REPRODUCE)/tables.toml --to out/reproduce/table.md

run: $(INSTALL) ## your own videos: MEDIA=DIR [CAPTIONS=DIR_OR_CSV] [ENCODER=clip:PATH|s3d-text:PATH|CHECKPOINT|train] [OUT=DIR]
	@test -n "$$MEDIA" || { echo 'say which folder: make run MEDIA=DIR'; exit 2; }
	$(FABULA) run --config configs/corpus.toml --set "ingest.media=$$MEDIA" --set "root=$$OUT" \
	  --set "encoder=$$ENCODER" $${CAPTIONS:+--set "align.captions=$$CAPTIONS"}

ingest extract align train embed index evaluate: $(INSTALL) ## run one stage of CONFIG (default configs/demo.toml) and what it needs
	$(FABULA) run --config $(or $(CONFIG),configs/demo.toml) --until $@

test: $(INSTALL) ## the test suite, some 25 minutes on 2 cores after the install
	$(BIN)/python -m pytest -m 'not long' -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test-long: $(INSTALL) ## what takes longer: kills by the dozen, 100,000 files
	$(BIN)/python -m pytest -m long

lint: $(INSTALL) ## ruff, mypy, import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## what continuous integration asks for

bench: bench-extract bench-train bench-eval bench-corpus ## all benchmarks; each prints ratios measured side by side

bench-extract: $(INSTALL) ## S3D against float32 eager, the stage against its parts, decoding against ffmpeg
	$(BIN)/python -m pytest tests/benchmarks/bench_extract.py tests/benchmarks/bench_decode.py \
	  tests/benchmarks/bench_gpu.py -s

bench-train: $(INSTALL) ## a training step against the plain one, its data and its alignment; soft-DTW against a loop over cells
	$(BIN)/python -m pytest tests/benchmarks/bench_train.py tests/benchmarks/bench_soft.py -s

bench-eval: $(INSTALL) ## sequence scores against the bare matrix product
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks/bench_eval.py -s

bench-corpus: $(INSTALL) ## the linear probe of the demo corpus: middle frame against clip
	$(BIN)/python -m pytest tests/benchmarks/bench_corpus_probe.py -s

clean: ## delete what runs made (out/), not the installation
	rm -rf out
