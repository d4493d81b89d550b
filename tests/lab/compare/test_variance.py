"""How noisy gradients are on a pretrained prior."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from msd_lab.compare.methods import Method
from msd_lab.compare.variance import PLACES, Gradients, Quality, VarianceComparison, as_table, quality
from threestudio_msd.errors import UserError

from launcher.config import read

CONFIGS = Path(__file__).parents[3] / "configs"


def drawn(noise, draws=2000):
    """Draws of known gradients with noise of a known deviation; the mean square of the gradients."""
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(5, 3, 2, generator=generator)
    return exact + noise * torch.randn(draws, 5, 3, 2, generator=generator), float(exact.square().mean())


def test_the_quality_of_a_gradient_with_known_noise():
    g, square = drawn(0.5)
    found = quality(g, 4.0)
    assert found.deviation == pytest.approx(0.5 / math.sqrt(square), rel=0.03)
    assert found.efficiency == pytest.approx(math.log(square / (0.25 * 4)), abs=0.05)
    assert found.cosine == pytest.approx(math.sqrt(square / (square + 0.25)), abs=0.05)
    assert quality(3 * g, 4.0).cosine == pytest.approx(found.cosine)


def test_no_noise_and_nothing_but_noise():
    sure = quality(drawn(0.0, draws=3)[0], 1.0)
    assert (sure.cosine, sure.deviation, sure.efficiency) == (pytest.approx(1), 0, math.inf)
    noise = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    lost = quality(noise - noise.mean(0), 1.0)
    assert (lost.deviation, lost.efficiency) == (math.inf, -math.inf)
    assert lost.cosine < 0


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"seeds": 0}, "--seeds: expected 1 or more"),
        ({"draws": 2}, "--draws: expected 3 or more"),
    ],
)
def test_what_cannot_be_measured(tmp_path, changed, told):
    settings = {"methods": [Method("A", "a.yaml")], "seeds": 1, "particles": 1, "draws": 3, **changed}
    with pytest.raises(UserError, match=told):
        VarianceComparison(prompts=["a red mug"], out=tmp_path, read=read, **settings)


def test_the_table_has_a_row_a_method_and_all_its_costs():
    one, two = Quality(0.5, 2.0, -1.0, 8.0), Quality(0.7, 2.0, -1.0, 4.0)
    table = as_table({"A": [[one, two]] * (PLACES - 1) + [[two, two]], "B": [[one]] * PLACES}).markdown()
    _, _, a, b = table.splitlines()
    assert a.startswith("| A | 8, 4 | 0.60 ± 0.14 |")
    assert b.startswith("| B | 8 | 0.50 | 0.50 | 0.50 | 0.50 | 2.00 |")
    sure = Quality(1.0, 0.0, math.inf, 2.0)
    assert as_table({"C": [[sure, sure]] * PLACES}).markdown().endswith("| ∞ | ∞ | ∞ | ∞ |")


def test_gradients_are_drawn_at_the_lambda_that_the_run_had(random_pipeline):
    pretrained = f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}"
    gradients = Gradients(read(str(CONFIGS / "msd-tiny.yaml"), [pretrained]))
    for bandwidth in (3.0, 1.5):
        frame = SimpleNamespace(bandwidth=bandwidth, images=lambda: torch.rand(1, 16, 16, 3))
        g, _ = gradients.at(frame, 0.5, 3)
        assert len(g) == 3
        assert gradients.guidance.estimator.bandwidth.last == bandwidth
