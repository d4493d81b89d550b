"""The exact prior of real pictures, against direct computation."""

from __future__ import annotations

import json

import pytest
import torch
from msd_lab.pictures import experiments
from msd_lab.pictures.__main__ import main
from msd_lab.pictures.data import SIDE, load_index, load_pictures
from msd_lab.pictures.prior import PictureDenoiser, picture_places, picture_prior
from threestudio_msd.distillation import MSD, Constant, SharedNoise, Split, Tweedie


@pytest.fixture(scope="module")
def animals() -> PictureDenoiser:
    return picture_prior("animal").conditional


def test_the_data_set_is_hundreds_of_captioned_pictures():
    pictures, index = load_pictures(), load_index()
    assert pictures.shape == (len(index), 3, SIDE, SIDE)
    assert len(index) >= 400
    assert (pictures.min(), pictures.max()) == (-1, 1)
    assert all(picture.title and picture.keywords for picture in index)


def test_the_denoiser_is_the_mean_of_pictures_by_bayes_rule(animals):
    z = animals.pictures[:2] + 15 * torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x = animals.pictures.double().flatten(1)
    apart = ((z.double().flatten(1)[:, None] - x) ** 2).sum(2)
    probability = torch.softmax(-apart / (2 * 15.0**2), 1)
    assert torch.allclose(animals(z, 15.0).flatten(1), (probability @ x).float(), atol=1e-3)
    assert torch.allclose(animals.weights(z, torch.tensor([15.0, 15.0])), probability.float(), atol=1e-4)


def test_without_noise_a_picture_is_itself_and_with_much_all_count_alike(animals):
    assert torch.allclose(animals(animals.pictures[5:6], 0.02), animals.pictures[5:6], atol=1e-5)
    assert float(animals.counted(animals.pictures[:1], 1e4)[0]) == pytest.approx(
        len(animals.pictures), rel=1e-3
    )


def test_the_mean_shift_is_the_gradient_of_the_blurred_density(animals):
    y = (animals.pictures[:1] / 2).double().requires_grad_()
    lam = 20.0
    apart = (y.flatten(1) - animals.pictures.double().flatten(1)).square().sum(1)
    (gradient,) = torch.autograd.grad(torch.logsumexp(-apart / (2 * lam**2), 0), y)
    estimate = MSD(Tweedie(), Constant(lam, lam))(
        y.detach().float(), picture_prior("animal"), SharedNoise(0), 0.0
    )
    assert torch.allclose(-estimate.gradient, (lam**2 * gradient).float(), atol=2e-3)


def test_guidance_leads_away_from_all_pictures_to_those_of_the_keyword():
    prior, z = picture_prior("fruit", 3.0), torch.zeros(1, 3, SIDE, SIDE)
    away = prior.unconditional(z, 20.0)
    assert torch.allclose(prior.denoiser(z, 20.0), away + 3 * (prior.conditional(z, 20.0) - away), atol=1e-5)
    assert len(prior.conditional.pictures) == len(picture_places("fruit")) < len(prior.unconditional.pictures)
    with pytest.raises(ValueError, match="no picture has the keyword 'zebra crossing'"):
        picture_places("zebra crossing")


def test_the_papers_sampler_forgets_its_noise_and_the_exact_one_does_not(animals):
    y = torch.ones(1, 3, SIDE, SIDE)
    split = experiments.draws_of(Split(steps=8), 25.0, y, animals, 0)
    exact = experiments.draws_of(experiments.SAMPLERS["exact-score, 16 steps"], 25.0, y, animals, 0)
    assert split["pictures"] == 1
    assert exact["pictures"] > 15
    assert exact["error"] < 2 * exact["noise"] < split["error"]


def test_results_are_kept_and_shown(tmp_path, monkeypatch, capsys):
    counted = []

    def few(seed):
        counted.append(seed)
        yield "split | λ 12", {"error": 1.0 + seed}

    monkeypatch.setitem(experiments.EXPERIMENTS, "split", few)
    command = ["split", "--jobs", "1", "--out", str(tmp_path), "--seeds"]
    assert main([*command, "1"]) == main([*command, "2"]) == 0
    assert counted == [0, 1]
    assert json.loads((tmp_path / "split-1.json").read_text()) == {"split | λ 12": {"error": 2.0}}
    assert "| split | λ 12 | 1.50 ± 0.707 |" in (tmp_path / "tables.md").read_text()
    assert "data:image/png" in (tmp_path / "index.html").read_text()
    with pytest.raises(SystemExit):
        main(["bais", "--out", str(tmp_path)])
