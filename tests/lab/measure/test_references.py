"""Reference images: kept while their settings are, and never at the cost of anything else."""

from __future__ import annotations

import pytest
import torch
from msd_lab.measure.images import write_samples
from msd_lab.measure.references import Sampling, render_prompts, sample_prompts
from omegaconf import OmegaConf
from threestudio_msd.errors import UserError


def test_truth_is_rendered_once_and_again_where_it_was_harmed(tmp_path):
    first = render_prompts(["a red mug"], [0], 2, tmp_path)
    times = [record.path.stat().st_mtime_ns for record in first]
    assert [r.path.stat().st_mtime_ns for r in render_prompts(["a red mug"], [0], 2, tmp_path)] == times
    whole = first[1].path.read_bytes()
    first[1].path.write_bytes(whole[: len(whole) // 2])
    assert render_prompts(["a red mug"], [0], 2, tmp_path)[1].path.read_bytes() == whole
    assert len(render_prompts(["a red mug"], [0], 3, tmp_path)) == 3


def config_of(guidance="msd-guidance"):
    return OmegaConf.create(
        {
            "system": {
                "guidance_type": guidance,
                "guidance": {"pretrained_model_name_or_path": "some-model"},
                "prompt_processor_type": "none",
            }
        }
    )


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other things than samples"):
        sample_prompts(config_of(), ["a red mug"], [0], Sampling(), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_samples_of_other_settings_are_removed_and_nothing_else(tmp_path):
    (record,) = write_samples(tmp_path, "a red mug", 0, torch.zeros(1, 8, 8, 3))
    (tmp_path / "notes.txt").touch()
    # nothing is asked for, so that nothing is sampled
    with pytest.raises(UserError, match="neither samples"):
        sample_prompts(config_of(), [], [0], Sampling(), tmp_path)
    assert not record.path.exists()
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"particles": 0}, "--particles: expected a number from 1 to 10000, got 0"),
        ({"steps": -1}, "--steps: expected a number from 1 to 10000"),
        ({"scale": float("nan")}, "--scale: expected a number within"),
        ({"scale": float("inf")}, "--scale: expected a number within"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(settings, told):
    with pytest.raises(UserError, match=told):
        Sampling(**settings)
