"""Small text-to-3D runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import launch

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = (
    *("use_timestamp=false", "system.geometry.sizes=[4,8]", "system.renderer.num_samples_per_ray=16"),
    *("data.batch_size=2", "data.height=16", "data.width=16", "data.eval_height=16", "data.eval_width=16"),
    *("data.n_val_views=1", "data.n_test_views=2", "trainer.max_steps=4", "trainer.val_check_interval=2"),
    *("trainer.enable_progress_bar=false", "system.geometry.isosurface_resolution=24"),
)


@pytest.fixture
def train(random_pipeline, tmp_path, monkeypatch):
    """Train a config, briefly, by the launcher; returns the run's folder."""
    monkeypatch.chdir(tmp_path)
    model = f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}"

    def run(config: str, *overrides: str, tag: str = "run", status: int = 0) -> Path:
        arguments = ["--config", str(CONFIGS / config), "--train", *SMALL, model, f"tag={tag}", *overrides]
        assert launch.main(arguments) == status
        return Path("outputs", config.removesuffix(".yaml"), tag)

    return run
