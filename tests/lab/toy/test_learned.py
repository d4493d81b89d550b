import pytest
import torch
from msd_lab.toy import learned as module
from msd_lab.toy.densities import DENSITIES, mixture
from msd_lab.toy.learned import DensityNetwork, Training, learned, train

SHORT = Training(width=16, steps=150, batch=128)


def test_training_approaches_the_exact_score(density):
    generator = torch.Generator().manual_seed(0)
    z, sigma = density.sample(500, generator, 0.3), 0.3

    def error(network):
        return float((network.denoise(z, sigma) - density.denoise(z, sigma)).norm(dim=1).mean())

    untrained = train(density, Training(width=16, steps=1, batch=8))
    assert error(train(density, SHORT)) < 0.25 * error(untrained)


def test_the_score_is_the_gradient_of_the_log_density():
    network = DensityNetwork(8)
    z, h = torch.tensor([[0.2, -0.3]]), 1e-2
    with torch.no_grad():
        slope = (network(z + torch.tensor([[h, 0.0]]), 0.5) - network(z - torch.tensor([[h, 0.0]]), 0.5)) / (
            2 * h
        )
    assert float(network.score(z, 0.5)[0, 0]) == pytest.approx(float(slope), rel=1e-2)


def test_rows_have_unit_norm_after_training(density):
    network = train(density, Training(width=8, steps=3, batch=16))
    x = torch.eye(4)
    assert torch.allclose(network.layers[0](x).square().sum(0), torch.ones(8), atol=1e-5)


def test_the_cache_is_used_and_keyed_by_content(density, tmp_path, monkeypatch):
    tiny = Training(width=8, steps=3, batch=16)
    first = learned(density, tiny, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(module, "train", None)  # a second training would fail
    again = learned(density, tiny, cache=tmp_path)
    z = torch.zeros(1, 2)
    assert torch.equal(first.denoise(z, 0.2), again.denoise(z, 0.2))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    other = mixture(density.means + 1e-3, torch.eye(2).expand(2, 2, 2) * 0.01)
    assert module.fingerprint(other, tiny) != module.fingerprint(density, tiny)
    assert module.fingerprint(density, Training(seed=1)) != module.fingerprint(density, Training())


def test_same_seed_same_network(density):
    tiny = Training(width=8, steps=5, batch=32)
    one, two = train(density, tiny), train(density, tiny)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_user_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.cache_folder() == tmp_path / "threestudio-msd" / "toy"


@pytest.mark.slow
def test_the_published_setup_learns_the_fractal():
    """Within 2 % of the data's deviation at sigma 0.1; minutes."""
    tree = DENSITIES["fractal"]()
    z = tree.sample(4000, torch.Generator().manual_seed(0), 0.1)
    difference = learned(tree).denoise(z, 0.1) - tree.denoise(z, 0.1)
    assert float(difference.square().mean().sqrt()) < 0.02 * 0.26
