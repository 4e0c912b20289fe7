# SignFlow's front door. `make` lists the targets. Everything is set up once and again only when its inputs change:
# a stamp file per group of packages, and the built page itself. Works with GNU make 3.81 (macOS).

SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

VENV := .venv
PYTHON_BIN := $(abspath $(VENV))/bin/python
PIP_INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c backend/constraints.txt
# make lab TORCH_INDEX=https://download.pytorch.org/whl/cpu takes PyTorch without CUDA: 200 MB instead of several GB.
TORCH_INDEX ?=
PIP_TORCH_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

CREATED := $(VENV)/.signflow-created
BASE := $(VENV)/.signflow-base
LAB := $(VENV)/.signflow-lab
SCALE := $(VENV)/.signflow-scale
DEV := $(VENV)/.signflow-dev
PIP_INPUTS := backend/pyproject.toml backend/constraints.txt

NODE_PACKAGES := frontend/node_modules/.signflow-installed
PAGE := frontend/dist/index.html
PAGE_INPUTS := $(shell find frontend -type f \
	-not -path 'frontend/node_modules/*' -not -path 'frontend/dist/*' -not -path 'frontend/.cache/*' \
	-not -path 'frontend/public/mediapipe/*' -not -path 'frontend/coverage/*' -not -name '*.md' 2>/dev/null)

TLS_DIR := data/secrets/tls
GENERATED := frontend/src/api/generated

##@ Use it

.PHONY: run
run: $(BASE) $(PAGE) ## set up what is missing, then serve on http://127.0.0.1:8000 (SIGNFLOW_PORT chooses another port)
	@cd backend && exec $(PYTHON_BIN) -m app.main

.PHONY: run-https
run-https: $(BASE) $(PAGE) ## the same for phones in your network: https on port 8443, with a certificate and an operator token made here
	@tools/require.sh openssl >/dev/null
	@cd backend && export SIGNFLOW_HOST=$${SIGNFLOW_HOST:-0.0.0.0} SIGNFLOW_PORT=$${SIGNFLOW_PORT:-8443} && \
		export SIGNFLOW_TLS__CERTIFICATE=$(TLS_DIR)/certificate.pem SIGNFLOW_TLS__KEY=$(TLS_DIR)/key.pem && \
		if [ -z "$$SIGNFLOW_OPERATOR_TOKEN" ] && ! grep -qs '^SIGNFLOW_OPERATOR_TOKEN=.' ../.env .env; then \
			export SIGNFLOW_OPERATOR_TOKEN=$$(openssl rand -hex 24); \
			echo "Operator token of this run (set SIGNFLOW_OPERATOR_TOKEN to keep one): $$SIGNFLOW_OPERATOR_TOKEN"; \
		fi && \
		$(PYTHON_BIN) -m scripts.make_certificate --output $(TLS_DIR) --port $$SIGNFLOW_PORT && \
		exec $(PYTHON_BIN) -m app.main

.PHONY: lab
lab: $(LAB) ## add what training and video extraction need (PyTorch, ONNX, MediaPipe)
	@echo "Ready. From backend/: ../$(VENV)/bin/python -m scripts.train --help"

# What few need. PyTorch is not part of `scale`: a server that only serves wants Redis and PostgreSQL without it.
.PHONY: extra
extra: $(BASE) ## install an optional part: make extra NAME=scale (Redis, PostgreSQL, Celery), NAME=openvino or NAME=torchserve
	@case "$(NAME)" in scale|openvino|torchserve) ;; \
		*) echo "NAME=$(NAME) is none of scale, openvino, torchserve; for example: make extra NAME=scale"; exit 2;; esac
	@$(PIP_INSTALL) $(PIP_TORCH_INDEX) -e 'backend[$(NAME)]'

# The starter model again from its recordings: calibration and card come from people held out, an hour on two cores.
.PHONY: starter
starter: $(LAB) ## train the shipped model anew, with its evaluation and card: make starter CORPUS=folder-with-the-recordings
	@test -d "$(CORPUS)" || { echo "CORPUS=$(CORPUS) is no folder; docs/training.md says where the recordings come from"; exit 2; }
	cd backend && $(PYTHON_BIN) -m scripts.evaluate_unseen --data "$(abspath $(CORPUS))" --output data/models/unseen_v1.json
	cd backend && $(PYTHON_BIN) -m scripts.train --corpus "$(abspath $(CORPUS))" --unseen data/models/unseen_v1.json --output data/models/model_v1.pt
	cd backend && $(PYTHON_BIN) -m scripts.evaluate_live --corpus "$(abspath $(CORPUS))" --output data/models/live_v1.json
	cd backend && $(PYTHON_BIN) -m scripts.write_model_card --model data/models/model_v1.onnx --unseen data/models/unseen_v1.json \
		--live data/models/live_v1.json --output data/models/MODEL_CARD.md

# One process and no job runner: MLflow's default starts sixteen processes. It reads runs of scripts.train and of the page.
MLFLOW_PORT ?= 5000
MLFLOW_STORE ?= $(abspath backend/data/models)/mlflow.db
.PHONY: mlflow
mlflow: $(LAB) ## look at the recorded training runs on http://127.0.0.1:5000 (MLFLOW_PORT=5001 chooses another port)
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true exec $(PYTHON_BIN) -m mlflow ui \
		--backend-store-uri "sqlite:///$(MLFLOW_STORE)" --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1

.PHONY: secrets
secrets: ## write the secrets that docker-compose*.yml want, and that .env has not, into .env
	@tools/require.sh openssl >/dev/null
	@tools/make-secrets.sh .env

.PHONY: worker
worker: $(SCALE) ## train what the page's trainings ask for, from Redis (needs SIGNFLOW_REDIS_URL and SIGNFLOW_TRAINING__RUNNER=celery)
	@cd backend && exec $(PYTHON_BIN) -m app.training_worker

.PHONY: setup
setup: $(BASE) $(PAGE) ## install and build only, start nothing

##@ Work on it

# Browser tests have a process of their own: Playwright's event loop would stay in the way of every asyncio test after it.
# Three processes on two cores, because many tests wait for servers.
# make test PYTEST_ARGS='--random-order' runs the files, and the tests in them, in another order each time.
TEST_PROCESSES ?= 3
PYTEST_ARGS ?=
.PHONY: test
test: $(DEV) $(PAGE) ## set up the development tools and pass every test
	cd backend && $(PYTHON_BIN) -m pytest -n $(TEST_PROCESSES) --dist loadfile --durations 10 --ignore tests/e2e $(PYTEST_ARGS)
	cd backend && $(PYTHON_BIN) -m pytest --durations 10 tests/e2e $(PYTEST_ARGS)
	cd frontend && npm run --silent test

.PHONY: check
check: check-format check-lint check-types check-contracts check-architecture check-frontend ## format, lint, types, import contracts, architecture

.PHONY: check-format
check-format: $(DEV) $(NODE_PACKAGES)
	cd backend && $(PYTHON_BIN) -m ruff format --check .
	cd frontend && npm run --silent format:check

.PHONY: check-lint
check-lint: $(DEV)
	cd backend && $(PYTHON_BIN) -m ruff check .

.PHONY: check-types
check-types: $(DEV)
	cd backend && PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PYTHON_BIN) -m pyright

.PHONY: check-contracts
check-contracts: $(DEV)
	cd backend && $(abspath $(VENV))/bin/lint-imports

.PHONY: check-architecture
check-architecture: $(DEV)
	cd backend && $(PYTHON_BIN) -m pytest tests/test_architecture.py

.PHONY: check-frontend
check-frontend: $(NODE_PACKAGES)
	cd frontend && npm run --silent lint && npm run --silent typecheck

.PHONY: format
format: $(DEV) $(NODE_PACKAGES) ## format the code and mend what the linter can mend
	cd backend && $(PYTHON_BIN) -m ruff format . && $(PYTHON_BIN) -m ruff check --fix .
	cd frontend && npm run --silent format

.PHONY: generate
generate: $(DEV) $(NODE_PACKAGES) ## write .env.example, schemas, the TypeScript types made from them, the Grafana dashboard, the alerts
	cd backend && $(PYTHON_BIN) -m app.api.schema --output ../$(GENERATED)/
	cd backend && $(PYTHON_BIN) -m scripts.write_env_example --output ../.env.example
	cd backend && $(PYTHON_BIN) -m scripts.write_dashboard --output ../grafana/dashboards/signflow.json
	cd backend && $(PYTHON_BIN) -m scripts.write_slo_rules --output ../prometheus/rules/slo.yml
	cd frontend && npm run --silent generate

.PHONY: build
build: $(PAGE) ## build the page into frontend/dist

.PHONY: dev
dev: $(DEV) $(NODE_PACKAGES) ## install the development tools, run nothing

.PHONY: lock
lock: lock-page ## resolve every extra afresh and write backend/constraints.txt; complete the page's lock for all platforms
	@rm -rf .lock-venv && $$(tools/require.sh python) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_TORCH_INDEX) -e 'backend[train,video,tools,scale,openvino,torchserve,dev]'
	@{ echo "# Every package that any of SignFlow's extras may install, pinned; 'pip install -c' reads it. Made with 'make lock'."; \
		.lock-venv/bin/python -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//; / @ /d; /^nvidia-|^triton==/d'; } \
		> backend/constraints.txt
	@rm -rf .lock-venv
	@git --no-pager diff --stat -- backend/constraints.txt

.PHONY: lock-page
lock-page: ## after a change of the page's packages: add what other platforms need to package-lock.json
	@node tools/complete-lock.mjs frontend/package-lock.json

.PHONY: clean
clean: ## remove what was installed and built here; your data, models and settings stay
	rm -rf $(VENV) .lock-venv frontend/node_modules frontend/dist frontend/.cache

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo

# A virtual environment whose interpreter no longer runs (Python upgraded or removed) is made again; one that runs is kept.
ifneq ($(shell $(VENV)/bin/python -c 'print("runs")' 2>/dev/null),runs)
.PHONY: $(CREATED)
endif

$(CREATED):
	@$(VENV)/bin/python -c 'pass' 2>/dev/null || { python=$$(tools/require.sh python) && \
		echo "Making .venv with $$python" && "$$python" -m venv --clear $(VENV); }
	@touch $@

$(BASE): $(CREATED) $(PIP_INPUTS)
	@echo "Installing what serving needs (no PyTorch) ..."
	@$(PIP_INSTALL) -e backend
	@touch $@

$(LAB): $(CREATED) $(PIP_INPUTS)
	@echo "Installing what training and extraction need; PyTorch is large ..."
	@$(PIP_INSTALL) $(PIP_TORCH_INDEX) -e 'backend[train,video,tools]'
	@touch $(BASE) $@

$(SCALE): $(LAB)
	@echo "Installing what training from Redis needs ..."
	@$(PIP_INSTALL) -e 'backend[scale]'
	@touch $@

$(DEV): $(CREATED) $(PIP_INPUTS)
	@echo "Installing the development tools ..."
	@$(PIP_INSTALL) $(PIP_TORCH_INDEX) -e 'backend[train,video,tools,scale,openvino,torchserve,dev]'
	@touch $(BASE) $(LAB) $(SCALE) $@

$(NODE_PACKAGES): frontend/package.json frontend/package-lock.json
	@tools/require.sh node >/dev/null
	@echo "Installing the page's packages ..."
	@cd frontend && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE): $(NODE_PACKAGES) $(PAGE_INPUTS)
	@echo "Building the page ..."
	@cd frontend && npm run --silent build
	@touch $@
