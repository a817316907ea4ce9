# Every target makes its own .venv and is quick the second time.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo demo-cluster test test-slow test-cluster cluster-up cluster-down check bench bench-cluster clean

demo: .venv/.helm
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: .venv/.test
	$(BIN)/pytest -n 2 $(ARGS)

test-slow: .venv/.test
	$(BIN)/pytest -n 2 -m "slow and not cluster" --timeout 900 $(ARGS)

# On two control planes built with Go (minutes, once), or by one process on the throw-away cluster that SBKUBE_TEST_KUBECONFIG
# names; with the embedded Helm, and once more with the programs where it depends on them.
test-cluster: .venv/.test
	@test -n "$$SBKUBE_TEST_KUBECONFIG" || $(BIN)/python -m tests.cluster build
	SBKUBE_TEST_HELM="$${SBKUBE_TEST_HELM:-$$(sh tests/contract/build_helm.sh)}" $(BIN)/pytest -m cluster \
		-n $(if $(SBKUBE_TEST_KUBECONFIG),0,2) --dist worksteal --timeout 300 $(ARGS)

# The programs come from where the tests build them: nothing but Go is needed.
demo-cluster: .venv/.helm
	@sh examples/with-control-plane.sh "$(CURDIR)/$(BIN)" sh examples/demo-cluster.sh

cluster-up: .venv/.python
	@$(BIN)/python -m tests.cluster up

cluster-down: .venv/.python
	@$(BIN)/python -m tests.cluster down

check: .venv/.check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test
	$(BIN)/python -m benchmarks $(ARGS)

# On a control plane of its own, which is built with Go once.
bench-cluster: .venv/.helm .venv/.test
	$(BIN)/python -m benchmarks.cluster $(ARGS)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
	find examples -name .sbkube -type d -prune -exec rm -rf {} +

.venv/.python: Makefile
	@test -n "$(PYTHON)" || { echo "sbkube needs Python 3.11 or newer; none found (set PYTHON=/path/to/python)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip .venv >/dev/null 2>&1 \
		&& $(PYTHON) -m pip --python $(BIN)/python install -q pip >/dev/null 2>&1; } \
		|| { rm -rf .venv; echo "cannot make a virtual environment: install the package python3-venv" >&2; exit 1; }
	@touch $@

.venv/.helm .venv/.test .venv/.check: .venv/.%: .venv/.python pyproject.toml
	@echo "installing sbkube[$*] into .venv"
	@$(BIN)/python -m pip install -q -e '.[$*]'
	@touch $@
