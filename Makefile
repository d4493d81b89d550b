# make demo   text to image with mean-shift distillation on the embedded prior, on the CPU
# make demo-3d   text to 3D on it: a turntable video and a mesh with colours
# make compare  MSD beside SDS, SDI, VSD and DDIM on the embedded prior: outputs/compare/index.html; ARGS=--quick for a first look
# make compare-3d  the same for scenes, measured against true renders: outputs/compare-3d/index.html
# make table4 the paper's Table 4 on Stable Diffusion, its figures beside; a GPU and weights, or ARGS=--dry-run for a rehearsal
# make doctor what this machine lacks for a config, and what mends it; ARGS="--config configs/msd-sd.yaml"
# make test   the test suite
# make torture  kills, signals, full disks, flipped bits: how many are survived, and what is lost (docs/reliability.md)
# make lint   ruff
# Each sets up what it needs in .venv, once for every state of the lock file.

PYTHON ?= python3
PROMPT ?= a green car
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell cksum < requirements.lock | tr ' ' '-')

.PHONY: demo demo-3d compare compare-3d table4 doctor test torture lint

demo: $(READY)
	$(BIN)/python scripts/demo.py "$(PROMPT)"

demo-3d: PROMPT := $(if $(filter file,$(origin PROMPT)),a yellow duck,$(PROMPT))
demo-3d: $(READY)
	$(BIN)/python scripts/demo_3d.py "$(PROMPT)"

compare: $(READY)
	$(BIN)/python scripts/compare.py --configs configs/msd-tiny.yaml \
		"MSD searched=configs/msd-tiny.yaml,system.guidance.guidance_scale=5.64,system.optimizer.args.lr=0.0112,system.guidance.bandwidth.end=1.27" \
		configs/sds-tiny.yaml "SDS published=configs/sds-tiny.yaml,system.guidance.guidance_scale=101" \
		configs/sdi-tiny.yaml \
		"SDI published=configs/sdi-tiny.yaml,system.guidance.guidance_scale=8.5,system.guidance.max_step_percent=0.98,system.optimizer.args.lr=0.03" \
		configs/vsd-tiny.yaml \
		"VSD searched=configs/vsd-tiny.yaml,system.guidance.guidance_scale=10,system.guidance.max_step_percent=0.542,system.optimizer.args.lr=0.0173" \
		--prompts custom/threestudio_msd/assets/prompts-tiny.txt --seeds 3 --particles 4 --budget nfe=320 --scale 3 \
		--title "Mean-shift distillation and its peers" --out outputs/compare $(ARGS)

table4: $(READY)
	$(BIN)/python scripts/table4.py $(ARGS)

doctor: $(READY)
	$(BIN)/python scripts/doctor.py $(ARGS)

compare-3d: $(READY)
	$(BIN)/python scripts/compare_3d.py --configs configs/msd-nerf-tiny.yaml configs/sds-nerf-tiny.yaml configs/sdi-nerf-tiny.yaml \
		configs/vsd-nerf-tiny.yaml Ceiling=configs/truth-nerf-tiny.yaml --prompts "a red mug" "an orange duck" "a green car" "a pink house" "a black cat" "a blue teapot" \
		--seeds 3 --out outputs/compare-3d $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

torture: $(READY)
	$(BIN)/python -m pytest -m "slow or not slow" tests/reliability/test_faults.py tests/lab/compare/test_grid.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "threestudio-msd sets up with Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/ready-*
	touch $@
