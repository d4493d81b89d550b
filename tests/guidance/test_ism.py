"""`msd-ism-guidance` on a small random pipeline."""

from __future__ import annotations

import pytest
import threestudio
from guidance.stand_ins import PromptUtils, cameras, renders


def guidance(folder, **cfg):
    return threestudio.find("msd-ism-guidance")({"pretrained_model_name_or_path": str(folder), **cfg})


def test_gradient_reaches_the_render_and_evaluations_are_counted(random_pipeline):
    rgb, g = renders(), guidance(random_pipeline)
    out = g(rgb, PromptUtils(), **cameras(2))
    out["loss_ism"].backward()
    assert rgb.grad.abs().sum() > 0
    assert out["nfe"] == g.evaluations / 2 >= 4


def test_intervals_are_shares_of_the_training_time(random_pipeline):
    g = guidance(random_pipeline, interval_percent=0.05, inversion_interval_percent=0.2)
    assert (g.make_estimator(None).interval, g.make_estimator(None).inversion_interval) == (0.05, 0.2)
    with pytest.raises(ValueError, match="interval_percent: expected"):
        guidance("nowhere", interval_percent=0.0)
