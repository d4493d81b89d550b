import pytest
import torch
from msd_lab.toy import metrics
from msd_lab.toy.densities import mixture
from threestudio_msd.distillation import seed_from


def reference_precision(points: torch.Tensor, reference: torch.Tensor, k: int) -> float:
    """Kynkäänniemi et al. 2019, Eq. 1 and 2, written out."""
    covered = 0
    radii = [
        sorted(float((a - b).norm()) for j, b in enumerate(reference) if j != i)[k - 1]
        for i, a in enumerate(reference)
    ]
    for point in points:
        covered += any(
            float((point - a).norm()) <= radius for a, radius in zip(reference, radii, strict=True)
        )
    return covered / len(points)


def test_precision_and_recall_agree_with_the_definition():
    density = mixture(torch.zeros(1, 2), torch.eye(2)[None])
    points = 1.0 + torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    found = metrics.measure(points, density, 3, references=50)
    seed = torch.Generator().manual_seed(seed_from(3, "reference"))
    reference = density.sample(50, seed)
    assert found["precision"] == pytest.approx(reference_precision(points, reference, metrics.NEIGHBOURS))
    assert found["recall"] == pytest.approx(reference_precision(reference, points, metrics.NEIGHBOURS))
    assert 0 < found["precision"] < 1 and 0 < found["recall"] < 1


def test_mmd_is_zero_in_the_mean_for_one_distribution_and_exact_far_apart():
    values = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        values.append(
            metrics.mmd(torch.randn(60, 2, generator=generator), torch.randn(60, 2, generator=generator), 1.0)
        )
    spread = torch.tensor(values)
    assert abs(float(spread.mean())) < 3 * float(spread.std()) / 60**0.5
    assert min(values) < 0  # unbiased, so not bounded by 0
    points, far = torch.zeros(10, 2), torch.full((10, 2), 100.0)
    assert metrics.mmd(points, far) == pytest.approx(2.0)


def test_nll_of_one_gaussian():
    density = mixture(torch.zeros(1, 2), torch.eye(2)[None])
    assert metrics.nll(torch.zeros(3, 2), density) == pytest.approx(1.837877, abs=1e-5)


def test_modes_are_stationary_and_counted_once():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [1.05, 0.0]])
    density = mixture(means, torch.eye(2).expand(3, 2, 2) * 0.01)
    modes = metrics.modes(density)
    assert len(modes) == 2
    assert float(density.score(modes).abs().max()) < 1e-2
    assert density.logp(modes)[0] >= density.logp(modes)[1]
    assert metrics.modes_found(modes[:1], modes) == 0.5
