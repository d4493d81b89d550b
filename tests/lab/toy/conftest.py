"""Shared by the toys' tests: small densities, experiments of seconds, and their own cache of networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from msd_lab.toy.densities import GaussianMixture, mixture
from msd_lab.toy.experiment import Experiment, Scale
from msd_lab.toy.experiments import EXPERIMENTS
from msd_lab.toy.learned import Training
from msd_lab.toy.problems import SCHEDULE
from threestudio_msd.distillation import PlainPrior


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _alone(_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in a cache apart from the user's, jobs in the test's own process."""
    monkeypatch.setenv("XDG_CACHE_HOME", _cache)
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


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """An experiment by its name; its batches with other fields where these are given."""

    def find(name: str, **changes: Any) -> Experiment:
        (found,) = [experiment for experiment in EXPERIMENTS if experiment.name == name]
        return replace(found, batches=[replace(batch, **changes) for batch in found.batches])

    return find
