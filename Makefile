# linux.cgnet: `make help` lists what there is to do. Every target sets up the
# machine first (tools/setup.sh), which takes no time once that is done.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The kernels that the kernel tests run on: images that tests/vm knows.
KERNELS ?= debian12 debian13 debian13-backports
# The guest of the demo: one of these too.
SUITE ?= debian13
# Handed to pytest by unit and kernel, for instance ARGS="-k tos -x".
ARGS ?=

comma := ,
BUILD := $(CURDIR)/.build
PYTHON := $(CURDIR)/.venv/bin/python
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cgnet
# The tree as a Python package, for what imports ansible_collections.linux.cgnet.
DEV := PYTHONPATH=$(BUILD)
# The collection as its users have it.
INSTALLED := ANSIBLE_COLLECTIONS_PATH=$(BUILD)/collections
JUNIT := $(BUILD)/junit
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z%-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
	    printf '  %-24s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: ## packages, .venv and the links of .build (the others do this by themselves)
	@bash tools/setup.sh

.PHONY: object
object: setup ## compile bpf/*.bpf.c into plugins/objects/
	$(DEV) $(PYTHON) -m tools.build_objects

## Checks that need no guest

.PHONY: lint ruff mypy yamllint ansible-lint changelog
lint: ruff mypy yamllint ansible-lint changelog ## ruff, mypy, yamllint, ansible-lint, changelog

ruff: setup ## Python: rules and format
	ruff check .
	ruff format --check .

mypy: setup ## Python: types, strict, in module_utils and plugin_utils
	mypy

yamllint: setup ## YAML
	yamllint --strict .

ansible-lint: collection ## playbooks, roles and the collection's own files, production profile
	$(INSTALLED) ansible-lint --offline

changelog: setup ## changelog fragments
	antsibull-changelog lint

.PHONY: sanity sanity-newest
sanity: setup ## ansible-test sanity, without containers
	$(PYTHON) -m tools.sanity

sanity-newest: setup ## the same on the newest ansible-core, in a root of Debian 13
	$(PYTHON) -m tools.newest sanity

.PHONY: unit unit-newest
unit: object ## unit tests, the contract over the fake kernel; ARGS="-k tos -x" goes to pytest
	@mkdir -p $(JUNIT)/unit
	pytest tests/unit tests/contract --junitxml=$(JUNIT)/unit/unit.xml $(ARGS)

unit-newest: object ## those of them that speak to Ansible, on the newest ansible-core, in a root of Debian 13
	$(PYTHON) -m tools.newest unit $(ARGS)

.PHONY: collection docs
collection: object ## build the artifact and install it to .build/collections
	$(PYTHON) -m tools.collection

docs: collection ## ansible-doc renders every installed module; links lead somewhere
	$(PYTHON) -m tools.docs

## Checks in guests

# Runs pytest in a guest of its own: $(call in-guest,SUITE,OPTIONS OF tests.vm run,TESTS)
# Where a guest itself is in disorder everything fails, so some failures tell as much as all.
define in-guest
	@mkdir -p $(JUNIT)/$@
	$(PYTHON) -m tests.vm run $(1) $(2) --timeout 3000 --fetch /cgnet/junit.xml:$(JUNIT)/$@/kernel.xml -- \
	    python3 -m pytest $(3) --maxfail=25 --junitxml=/cgnet/junit.xml $(ARGS)
endef

.PHONY: kernel
kernel: $(addprefix kernel-,$(KERNELS)) ## kernel tests in a guest for each of KERNELS

kernel-%: test-objects ## the same for one kernel, with the contract over the real kernel
	$(call in-guest,$*,,tests/kernel tests/contract --kernel=real)

.PHONY: threats
threats: setup ## every row of threat-table.md and guarantees.md names tests that ran: after unit and kernel tests
	@mkdir -p $(JUNIT)/threats
	KERNELS="$(KERNELS)" pytest tests/threats --junitxml=$(JUNIT)/threats/threats.xml

.PHONY: kernel-without-bpf-lsm test-objects
kernel-without-bpf-lsm: test-objects ## what is left, and told, where the BPF LSM is not active
	$(call in-guest,debian13,--append lsm=lockdown$(comma)yama,tests/kernel/without_bpf_lsm.py)

test-objects: object
	$(DEV) $(PYTHON) -m tools.build_objects --tests

.PHONY: molecule
molecule: collection ## the plays of examples/ as scenarios with idempotence, in systemd guests
	@trap '$(INSTALLED) molecule destroy' INT TERM; \
	    $(INSTALLED) molecule destroy && $(INSTALLED) molecule test --all

## All together

.PHONY: test
test: setup ## every check, with a summary
	@$(PYTHON) -m tools.check $(KERNELS)

.PHONY: demo shell
demo: collection ## a play makes a guest's kernel enforce a policy, before and after
	@$(INSTALLED) $(PYTHON) -m tools.demo $(SUITE)

shell: setup ## a shell in the guest of the demo
	@$(PYTHON) -m tests.vm shell demo

.PHONY: bench
bench: collection ## what it costs, into benchmarks/figures.md and plots; ARGS="calls report" for some of it
	@bash tools/setup.sh bpftool iproute2 nftables strace
	@pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	$(DEV) $(PYTHON) -m benchmarks.run $(ARGS)

.PHONY: clean distclean
clean: ## end the guests; remove what was built, keep .venv and the image cache
	@if [ -x $(PYTHON) ] && [ -d .vm ]; then $(PYTHON) -m tests.vm down --all; fi
	rm -rf .build .vm plugins/objects tests/output
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible

distclean: clean ## clean, and remove .venv and the image cache
	rm -rf .venv "$(CACHE)"
