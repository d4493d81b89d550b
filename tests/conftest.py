"""Fixtures shared by all tests."""

from __future__ import annotations

import functools
import gc
import importlib
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hub_server import hub, online  # noqa: F401  (fixtures)

NEW_DIFFUSERS = "0.33"
"""The least that setup.py asks for; threestudio's own pin is older."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import the host, then the extension, which registers itself; a process with workers needs neither."""
    if session.config.getoption("dist", "no") == "no":
        gc.disable()
        importlib.import_module("threestudio")
        importlib.import_module("threestudio_msd")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what imports have made: a million objects that stay."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `new_diffusers` with an older one; see scripts/matrix.py."""
    if Version(version("diffusers")) >= Version(NEW_DIFFUSERS):
        return
    for item in items:
        if item.get_closest_marker("new_diffusers"):
            item.add_marker(pytest.mark.skip(reason=f"of parts that came with diffusers {NEW_DIFFUSERS}"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small tensors are faster on one thread, and results then do not depend on the number of cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _propagated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning before 2.5 keeps its messages from the root logger, where caplog listens."""
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)


@pytest.fixture(scope="session")
def random_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small Stable Diffusion pipeline with random weights."""
    from msd_lab.bench.random_pipelines import save_random_pipeline

    return save_random_pipeline(tmp_path_factory.mktemp("pipeline") / "random-sd", "sd15")


@pytest.fixture(scope="session")
def pipeline_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folder of a small random pipeline, by its family's module in `priors/families/`; made once."""
    from msd_lab.bench.random_pipelines import save_random_pipeline

    kinds = {"sd": "sd15", "if_": "if", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux"}
    root = tmp_path_factory.mktemp("pipelines")

    @functools.cache
    def folder(family: str) -> str:
        try:
            like = kinds.get(family, family.replace("_", "-"))
            # newer networks begin with gates of zero
            return str(save_random_pipeline(root / family, like, redraw=0.0 if family in kinds else 0.1))
        except ImportError as error:
            pytest.skip(f"the diffusers at hand has no such family: {error}")

    return folder


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> object:
    """96 labelled true renders of the tiny world, rendered once for all processes of a test run."""
    from msd_lab.training.data import DataConfig, cached_images

    shared = tmp_path_factory.getbasetemp().parent
    return cached_images(DataConfig(views=8, colours_per_view=1, seed=424_242), shared)
