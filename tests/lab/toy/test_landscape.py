import torch
from msd_lab.toy.landscape import potential

AXIS = torch.linspace(-1, 1, 40, dtype=torch.float64)
Y, X = torch.meshgrid(AXIS, AXIS, indexing="ij")
SPACING = (float(AXIS[1] - AXIS[0]),) * 2


def test_the_potential_of_a_gradient_field_is_its_loss():
    loss, curl = potential(torch.stack([2 * X + Y, X - 3 * Y**2], -1), SPACING)
    truth = X**2 + X * Y - Y**3
    assert curl < 1e-3
    assert torch.allclose(loss, truth - truth.mean(), atol=5e-3)


def test_no_loss_explains_a_rotation():
    _, curl = potential(torch.stack([-Y, X], -1), SPACING)
    assert curl > 0.6


def test_no_field_has_no_loss():
    loss, curl = potential(torch.zeros(5, 4, 2), (0.1, 0.2))
    assert curl == 0 and not bool(loss.any())
