# Everything a developer runs; the CI runs the same targets. PYTHON=/path/to/python3.12 chooses the interpreter.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help serve test check format bench bench-quick clean

BIN := .venv/bin

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: ## start the server; ARGS="--port 9000" passes flags on
	@scripts/setup.sh server,speech
	@exec $(BIN)/worldstream serve $(ARGS)

# One more than cores: the tests of the browser and of servers wait half of their time.
WORKERS = $$((1 + $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)))
test: ## all tests; ARGS="-k pacing" passes flags on
	@started=$$(date +%s); \
	scripts/setup.sh server,speech,train,test && scripts/node.sh packages && scripts/sdks.sh && scripts/chromium.sh && scripts/compiler.sh && \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS); status=$$?; \
	echo "make test: $$(($$(date +%s) - started)) s wall time"; exit $$status

check: ## formatting, lint, types (Python and JavaScript)
	@scripts/setup.sh server,train,test,dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests $(wildcard benchmarks/*.py)
	$(BIN)/pyright
	@scripts/node.sh packages
	scripts/node.sh node node_modules/typescript/bin/tsc -p clients/browser/jsconfig.json

format: ## rewrite the Python sources in the house format
	@scripts/setup.sh server,train,test,dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCHMARKS := renderer throughput quality latency soak clips edits media sounds tasks
bench: ## all benchmarks on this machine, into benchmarks/results, then the README's tables
	@scripts/setup.sh server,speech,train,test && scripts/chromium.sh
	@set -e; for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json benchmarks/results/$$name.json $(ARGS); \
	done
	$(BIN)/python benchmarks/readme.py

ON_GPUS := operators open_checkpoints
bench-quick: ## the short form of every benchmark, and rehearsals of those for GPUs; keeps nothing
	@scripts/setup.sh server,speech,train,test && scripts/chromium.sh && scripts/compiler.sh
	@set -e; kept=$$(mktemp -d); trap 'rm -rf "$$kept"' EXIT; for name in $(BENCHMARKS) $(ON_GPUS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py --quick --json "$$kept/$$name.json"; \
	done

clean: ## remove what the targets above made, the environment included
	rm -rf .venv node_modules build dist .links/*.egg-info .coverage
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
