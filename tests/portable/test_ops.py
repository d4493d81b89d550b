"""Tensor functions."""

import pytest
import torch
from threestudio.utils import ops
from threestudio.utils.config import ConfigError


def test_scale_tensor_maps_one_range_to_another():
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert torch.equal(ops.scale_tensor(x, (-1, 1), (0, 10)), torch.tensor([0.0, 5.0, 10.0]))
    assert torch.equal(ops.scale_tensor(x, None, (2, 4)), torch.tensor([0.0, 2.0, 4.0]))
    box = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    assert torch.equal(ops.scale_tensor(torch.ones(3), None, box), box[1])


def test_dot_keeps_the_dimension():
    assert ops.dot(torch.ones(2, 3), torch.full((2, 3), 2.0)).tolist() == [[6.0], [6.0]]


def test_the_gradient_of_trunc_exp_is_capped():
    x = torch.tensor([1.0, 20.0], requires_grad=True)
    y = ops.trunc_exp(x)
    y.sum().backward()
    assert torch.equal(y.detach(), x.detach().exp())
    assert torch.allclose(x.grad, torch.tensor([1.0, 15.0]).exp())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, 2.0),
        ("none", 2.0),
        ("exp", 7.389056),
        ("shifted_exp", 2.718282),
        ("trunc_exp", 7.389056),
        ("shifted_trunc_exp", 2.718282),
        ("sigmoid", 0.880797),
        ("tanh", 0.964028),
        ("shifted_softplus", 1.313262),
        ("scale_-11_01", 1.5),
        ("ReLU", 2.0),
        ("lin2srgb", 1.0),
    ],
)
def test_activations(name, expected):
    assert ops.get_activation(name)(torch.tensor(2.0)).item() == pytest.approx(expected, rel=1e-5)


def test_linear_light_to_srgb():
    # the standard's own values (IEC 61966-2-1): the linear piece, and middle grey
    srgb = ops.get_activation("lin2srgb")(torch.tensor([0.001, 0.214041]))
    assert torch.allclose(srgb, torch.tensor([0.01292, 0.5]), atol=1e-4)


def test_an_unknown_activation_is_named():
    with pytest.raises(ConfigError, match="'wobble'"):
        ops.get_activation("wobble")


def test_chunks_are_joined_in_order():
    x = torch.arange(7.0)[:, None]
    sizes = []

    def func(x, scale, *, offset):
        sizes.append(len(x))
        return {"y": x * scale + offset, "pair": (x, None)}

    out = ops.chunk_batch(func, 3, x, 2.0, offset=x)
    assert sizes == [3, 3, 1]
    assert torch.equal(out["y"], 3 * x)
    assert torch.equal(out["pair"][0], x)
    assert out["pair"][1] is None
    assert torch.equal(ops.chunk_batch(lambda x: x + 1, 0, x), x + 1)
    assert ops.chunk_batch(lambda x: x + 1, 3, x[:0]).shape == (0, 1)
    with pytest.raises(ValueError, match="tensor"):
        ops.chunk_batch(lambda n: n, 3, 5)


def test_binary_cross_entropy_is_torchs():
    p, target = torch.rand(20), torch.rand(20)
    reference = torch.nn.functional.binary_cross_entropy(p, target)
    assert torch.allclose(ops.binary_cross_entropy(p, target), reference)


def test_the_decay_of_perp_neg():
    r = torch.tensor([0.0, 1.0])
    assert torch.allclose(
        ops.shifted_expotional_decay(4, 0.5, -2.426, r), torch.tensor([1.574, 0.000123]), atol=1e-4
    )
