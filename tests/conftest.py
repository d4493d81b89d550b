"""Fixtures shared by all tests."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from packaging.version import Version

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import threestudio  # noqa: F401  (before the extension, which then registers itself)
import threestudio_msd  # noqa: F401
from hub_server import hub, online  # noqa: F401  (fixtures)

DIFFUSERS = "0.33"
"""The least that setup.py asks for; threestudio's own pin is older, and has not what these tests are of:"""
OF_NEWER_DIFFUSERS = (
    "guidance/test_compat.py::test_a_scheduled_range_of_times_is_followed[VSDGuidance]",
    "guidance/test_prompts.py::test_prompts_of_all_views_are_embedded",
    "guidance/test_sampling.py::test_only_the_pretrained_model_matters_not_the_method",
    "priors/families/test_every.py",
    "priors/families/test_flux.py",
    "priors/families/test_if.py::test_denoiser_is_the_schedulers_own_clean_estimate",
    "priors/families/test_sd.py::test_embeddings_are_those_of_the_pipeline_and_of_threestudios_processor",
    "priors/families/test_sd3.py",
    "priors/families/test_sdxl.py::test_denoiser_and_condition_are_the_pipelines_own",
    "priors/families/test_sdxl.py::test_the_empty_prompt_is_zero_as_in_training",
    "priors/test_calls.py::test_schedulers_of_the_wrong_kind_are_named",
    "priors/test_family.py::test_a_family_is_one_file_and_one_config",
    "priors/test_folder.py::test_a_variant_of_half_precision_is_loaded_where_there_is_no_other",
    "priors/test_folder.py::test_one_half_does_not_need_the_other",
    *(
        f"priors/test_folder.py::test_options_of_the_family_are_checked_before_anything_is_loaded[{case}-folder]"
        for case in ("name", "value")
    ),
    *(
        f"priors/test_folder.py::test_so_is_damage_to_the_text_encoders[{case}]"
        for case in ("a tensor less", "another shape", "odd class", "odd tokenizer")
    ),
    "priors/test_folder.py::test_weights_written_in_the_names_of_older_transformers_are_found",
    "priors/test_loading.py::test_what_adapters_lack_is_told_with_what_mends_it",
    *(
        f"priors/{test}[{family}]"
        for test in (
            "test_memory.py::test_the_sampling_loop_has_no_graph_break",
            "test_random_pipelines.py::test_full_size_is_the_published_one",
            "test_random_pipelines.py::test_its_parts_are_those_that_the_pipeline_asks_for",
        )
        for family in ("flux", "sd3")
    ),
    "priors/test_random_pipelines.py::test_its_parts_are_those_that_the_pipeline_asks_for[sdxl]",
    "priors/test_sources.py::test_a_half_of_the_model_is_downloaded_and_kept",
    "priors/test_spaces.py::test_latents_are_the_autoencoders_shifted_and_scaled",
    "priors/test_tiny_vae.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With an old diffusers, leave out the tests of what came later; see scripts/matrix.py."""
    if Version(version("diffusers")) >= Version(DIFFUSERS):
        return
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(OF_NEWER_DIFFUSERS):
            item.add_marker(pytest.mark.skip(reason=f"of parts that came with diffusers {DIFFUSERS}"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small tensors are faster on one thread, and results then do not depend on the number of cores."""
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

    kinds = {"sd": "sd15", "if_": "if"}
    root = tmp_path_factory.mktemp("pipelines")

    @functools.cache
    def folder(family: str) -> str:
        try:
            return str(save_random_pipeline(root / family, kinds.get(family, family)))
        except ImportError as error:
            pytest.skip(f"the diffusers at hand has no such family: {error}")

    return folder
