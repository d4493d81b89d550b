"""Small text-to-3D runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import launch

CONFIGS = Path(__file__).parents[2] / "configs"
NO_CACHE = "system.prompt_processor.use_cache=false"
SMALL = (
    *("use_timestamp=false", "system.geometry.sizes=[4,8]", "system.renderer.num_samples_per_ray=16"),
    *("data.batch_size=2", "data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
    *("data.n_val_views=1", "data.n_test_views=2", "trainer.max_steps=4", "trainer.val_check_interval=2"),
    *("trainer.enable_progress_bar=false", "system.geometry.isosurface_resolution=24"),
)


@pytest.fixture
def train(random_pipeline, tmp_path):
    """Train a config, briefly, by the launcher; returns the run's folder."""
    return trainer(random_pipeline, tmp_path)


@pytest.fixture(scope="module")
def train_once(random_pipeline, tmp_path_factory):
    """As `train`, for runs that several tests look at."""
    torch.set_num_threads(1)  # as in every test, whose results are compared with these
    return trainer(random_pipeline, tmp_path_factory.mktemp("runs"))


def trainer(random_pipeline: Path, folder: Path) -> Callable[..., Path]:
    """Return a function that trains a config in a folder; results lie in its `outputs`."""
    model = f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}"

    def run(config: str, *overrides: str, tag: str = "run", status: int = 0) -> Path:
        own = (
            model,
            "system.prompt_processor.use_cache=false",
            f"exp_root_dir={folder}/outputs",
            f"tag={tag}",
        )
        arguments = ["--config", str(CONFIGS / config), "--train", *SMALL, *own, *overrides]
        assert launch.main(arguments) == status
        return Path(folder, "outputs", Path(config).stem, tag)

    return run
