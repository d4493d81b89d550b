# make demo   text to image with mean-shift distillation on the embedded prior, on the CPU
# make demo-3d   text to 3D on it: a turntable video and a mesh with colours
# make compare  MSD beside SDS, SDI, VSD and DDIM on the embedded prior: outputs/compare/index.html; ARGS=--quick for a first look
# make compare-3d  the same for scenes, measured against true renders: outputs/compare-3d/index.html
# make table4 the paper's Table 4 on Stable Diffusion, its figures beside; a GPU and weights, or ARGS=--dry-run for a rehearsal
# make doctor what this machine lacks for a config, and what mends it; ARGS="--config configs/msd-sd.yaml"
# make clients  opens what demo-3d exported in three.js (Chromium, npm) and in Blender (bpy, 350 MB): upright, in its colours?
# make test   the test suite
# make torture  kills, signals, full disks, flipped bits: how many are survived, and what is lost (docs/reliability.md)
# make lint   ruff, and mypy on the extension
# make dist   sdist and wheel in dist/, each installed into a folder and imported from there
# Each sets up what it needs in .venv, once for every state of the lock file.

PYTHON ?= python3
PROMPT ?= a green car
VENV := .venv
BIN := $(VENV)/bin
TRY := import sys; sys.path.insert(0, '.'); import msd_lab.assets, msd_lab.tinyworld.judge as judge, threestudio_msd; \
	from threestudio_msd.assets_path import asset; asset('tiny-prior'); judge.load_judge('a'); print(threestudio_msd.__file__)
READY := $(VENV)/ready-$(shell cksum < requirements.lock | tr ' ' '-')

.PHONY: clients demo demo-3d compare compare-3d table4 doctor test torture lint dist

demo: $(READY)
	$(BIN)/python scripts/demo.py "$(PROMPT)"

demo-3d: PROMPT := $(if $(filter file,$(origin PROMPT)),a yellow duck,$(PROMPT))
demo-3d: $(READY)
	$(BIN)/python scripts/demo_3d.py "$(PROMPT)"

compare: $(READY)
	$(BIN)/python -m msd_lab compare --configs lab/msd_lab/configs/compare.yaml \
		--prompts custom/threestudio_msd/assets/prompts-tiny.txt --seeds 3 --particles 4 --budget nfe=320 --scale 3 \
		--title "Mean-shift distillation and its peers" --out outputs/compare $(ARGS)

table4: $(READY)
	$(BIN)/python -m msd_lab table4 $(ARGS)

doctor: $(READY)
	$(BIN)/python scripts/doctor.py $(ARGS)

compare-3d: $(READY)
	$(BIN)/python -m msd_lab scenes --configs lab/msd_lab/configs/compare-3d.yaml \
		--prompts lab/msd_lab/configs/prompts-3d.txt --seeds 3 \
		--results lab/results/compare-3d --out outputs/compare-3d $(ARGS)

clients: $(READY)
	npm install --silent --no-audit --no-fund --prefix build/clients three@0.187.0 playwright-core@1.65.1 gltf-validator@2.0.0-dev.3.10
	test -x build/clients/blender/bin/python || $(PYTHON) -m venv build/clients/blender
	build/clients/blender/bin/python -m pip install --quiet --disable-pip-version-check bpy==5.0.1
	$(BIN)/python scripts/clients/check.py build/clients/node_modules build/clients/blender/bin/python $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

torture: $(READY)
	$(BIN)/python -m pytest -m "slow or not slow" tests/reliability/test_faults.py tests/lab/compare/test_runs.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: $(READY)
	rm -rf build dist
	$(BIN)/python -W ignore setup.py --quiet sdist bdist_wheel 2>/dev/null
	for built in dist/*.whl dist/*.tar.gz; do \
		rm -rf build/tried && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
			--target build/tried $$built && (cd build/tried && ../../$(BIN)/python -I -c "$(TRY)") || exit 1; \
	done

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "threestudio-msd sets up with Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/ready-*
	touch $@
