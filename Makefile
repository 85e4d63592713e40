# Kefu (客服). Two commands: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# `make run TORCH=gpu` takes the build for NVIDIA cards instead.
TORCH ?= cpu
PINS := -c constraints.txt -c constraints-$(TORCH).txt
# How many processes run the tests; each computes with one thread. A good part of the tests waits (for a platform, a
# timer, a stop), so that on two cores a third process still gains; each needs up to 3 GB.
JOBS ?= $(shell awk '/MemTotal/ { print ($$2 > 12000000 ? 3 : 2) }' /proc/meminfo 2>/dev/null || echo 2)
export KEFU_DEMO ?= 1

.PHONY: help install run test lint types unit soak bench docs clean

help:  ## 显示这份列表 / show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/.models  ## 安装依赖和内置模型 / install dependencies and the embedded models

run: install  ## 启动服务 / start the service on http://127.0.0.1:8080
	@exec $(VENV)/bin/kefu serve

test: $(VENV)/.test install lint types unit  ## 运行全部检查 / run every check CI runs

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

unit: $(VENV)/.test $(VENV)/.models
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=30

soak: $(VENV)/.test install  ## 长时间与断电测试 / long runs and power cuts
	$(PY) -m pytest -m soak --timeout=3600

bench: $(VENV)/.test install  ## 测量并打印数据 / print the figures of docs/benchmarks.md
	$(PY) -m pytest -m benchmark -s --timeout=3600 tests/benchmarks

docs: $(VENV)/.installed  ## 由代码生成文档里的表格 / write the tables of docs/ from the code
	$(PY) docs/generate.py

clean:  ## 删除虚拟环境（模型缓存和 data 保留）/ remove the virtual environment
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "需要 Python 3.11 或更新 / Kefu needs Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "需要 Python 3.11 或更新，而 $(PYTHON) 不是 / $(PYTHON) is older than Python 3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The CPU build of torch first and alone: nothing that follows may pull the GPU build in its place.
$(VENV)/.torch: constraints-$(TORCH).txt | $(VENV)/bin/python
	@$(PIP) install $(PINS) torch || { cat docs/install-torch.txt >&2; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) install -q --progress-bar on $(PINS) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	$(PIP) install -q --progress-bar on $(PINS) -e '.[test]'
	@touch $@

$(VENV)/.models: $(VENV)/.installed
	$(VENV)/bin/kefu models prepare
	@touch $@
