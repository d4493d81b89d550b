"""Names, folders and sizes as users have them: with spaces, not square, twice in one process."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

import launch

from .bundled import CONFIGS

SMALL = (
    *(
        "trainer.max_steps=2",
        "trainer.enable_progress_bar=false",
        "data.n_particles=1",
        "use_timestamp=false",
    ),
    *("data.height=24", "data.width=40", "data.eval_height=20", "data.eval_width=52"),
    *("system.guidance.sampler.steps=4", "system.prompt_processor.use_cache=false"),
)


@pytest.fixture(scope="module")
def pictures(random_pipeline, tmp_path_factory):
    """Results of the same run, started twice in one process, as a notebook's cell is."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("a folder") / "of mine"
        folder.mkdir()
        patch.chdir(folder)
        model = shutil.copytree(random_pipeline, folder / "my model")
        named = f"system.prompt_processor.pretrained_model_name_or_path={model.name}"
        argv = ["--config", str(CONFIGS / "msd-tiny.yaml"), "--train", named, *SMALL, "exp_root_dir=my runs"]
        assert [launch.main([*argv, f"tag=run {i}"]) for i in (1, 2)] == [0, 0]
        runs = [folder / f"my runs/msd-tiny/run {i}" for i in (1, 2)]
        return [np.asarray(Image.open(run / "save/it2-test/0.png")) for run in runs]


def test_spaces_in_every_path_and_sizes_that_are_not_square(pictures):
    assert pictures[0].shape == (20, 52, 3)


def test_a_run_twice_in_one_process_is_the_same_run(pictures):
    assert (pictures[0] == pictures[1]).all()
