"""What the toys' tests share: small densities, experiments of seconds, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msd_lab.toy.densities import GaussianMixture, mixture
from msd_lab.toy.learned import Training
from msd_lab.toy.optimise import SCHEDULE
from msd_lab.toy.settings import Scale, Settings
from threestudio_msd.distillation import PlainPrior


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in a cache of the test's own, jobs in its own process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(scope="session")
def density() -> GaussianMixture:
    """Two round, narrow Gaussians."""
    return mixture(torch.tensor([[-0.5, 0.0], [0.5, 0.0]]), torch.eye(2).expand(2, 2, 2) * 0.01)


@pytest.fixture(scope="session")
def prior(density: GaussianMixture) -> PlainPrior:
    """Their exact prior."""
    return PlainPrior(density.denoise, SCHEDULE)


@pytest.fixture(scope="session")
def tiny() -> Scale:
    """An experiment of a second."""
    return Scale(
        grid=6, steps=4, training=Training(width=8, steps=3, batch=16), draws=32, places=3, starts=(0.2, 0.6)
    )


@pytest.fixture
def settings(tiny: Scale, tmp_path: Path) -> Settings:
    """A command's settings for a tiny experiment of one seed, saving nothing along the way."""
    return Settings(1, tiny, tmp_path / "out", lambda measurements: None)
