"""What whole runs print: a line for each thing that the user asked about, and nothing of the libraries."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = r"model: custom/threestudio_msd/assets/tiny-prior, on .+"
START = [r"host: portable threestudio \(portable/threestudio\)", MODEL, r"prompt: a red mug"]
CITATION = r"To cite \(BibTeX: --citations\): Thamizharasan et al\. 2025 .+"
SMALL = [
    *("data.height=8", "data.width=8", "data.eval_height=8", "data.eval_width=8", "trainer.max_steps=2"),
    *("trainer.val_check_interval=2", "use_timestamp=false", "tag=t"),
]
SCENE = [
    "data.n_test_views=2",
    "data.cameras_per_round=4",
    "data.batch_size=2",
    "system.geometry.sizes=[4,8]",
]


LAUNCH = "import json, sys, launch; [launch.main(argv) for argv in json.loads(sys.argv[1])]"


def arguments(config, action, out, *overrides):
    return ["--config", f"configs/{config}.yaml", action, f"exp_root_dir={out}", *SMALL, *overrides]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The folder of three runs, and what each printed in the process of a user, without states of bars."""
    out = tmp_path_factory.mktemp("log")
    checkpoint = f"resume={out}/msd-nerf-tiny/t/ckpts/last.ckpt"
    view = "system.geometry.isosurface_threshold=0.1", "system.geometry.isosurface_resolution=8"
    runs = [
        arguments("msd-tiny", "--train", out, "system.prompt_processor.use_cache=false"),
        arguments("msd-nerf-tiny", "--train", out, *SCENE),
        arguments("msd-nerf-tiny", "--export", out, *SCENE, checkpoint, *view),
    ]
    command = [sys.executable, "-c", LAUNCH, json.dumps(runs)]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    text = subprocess.run(command, cwd=ROOT, text=True, check=True, **both).stdout
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    lines = [line for line in lines if line and not re.match(r"(train|test): +\d+%\|", line)]
    begins = [i for i, line in enumerate(lines) if line.startswith("host: ")]
    return out, [lines[i:j] for i, j in zip(begins, [*begins[1:], len(lines)], strict=True)]


def assert_lines(lines, patterns):
    assert len(lines) == len(patterns), "\n".join(lines)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_an_image_run_prints_a_line_for_each_thing(printed):
    out, (lines, _, _) = printed
    results = [rf"Results: {out}/msd-tiny/t/save/", r"it2-test/ \(8 files\)", r"it2-test\.mp4", r"path\.png"]
    assert_lines(lines, [*START, *results, CITATION])


def test_a_scene_and_its_export_print_where_the_mesh_is(printed):
    out, (_, trained, exported) = printed
    folder = rf"Results: {out}/msd-nerf-tiny/t/save/"
    turn = [r"it2-test/ \(2 files\)", r"it2-test\.mp4"]
    assert_lines(trained, [*START, folder, *turn, CITATION])
    meshing = r"Extracting and texturing the mesh \.\.\."
    mesh = [r"it2-export/model\.glb", r"it2-export/model\.html"]
    assert_lines(exported, [*START, meshing, folder, *mesh, *turn, CITATION])


def test_a_reader_that_has_seen_enough_causes_no_error_line(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` after its last line
    command = [sys.executable, "launch.py", *arguments("msd-tiny", "--train", tmp_path)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
