"""Adapters: on in their own calls, off for everybody else, and alone in what is trained and saved."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.priors import load_model
from threestudio_msd.priors.lora import LoRANetwork

pytest.importorskip("peft")


@pytest.fixture
def model(random_pipeline):
    return load_model(str(random_pipeline))


def call(network, **further):
    generator = torch.Generator().manual_seed(0)
    sample, text = (torch.randn(2, *shape, generator=generator) for shape in ((4, 4, 4), (8, 16)))
    return network(sample, torch.tensor([100.0, 500.0]), encoder_hidden_states=text, **further)


def test_it_begins_as_the_unet_and_leaves_that_alone(model):
    frozen = model.denoiser.network
    before = call(frozen)
    lora = LoRANetwork(model.backbone, frozen, rank=2)
    torch.testing.assert_close(call(lora), before)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(call(lora), before)
    assert torch.equal(call(frozen), before)


def test_only_the_adapters_are_its_own_and_get_gradients(model):
    lora = LoRANetwork(model.backbone, model.denoiser.network, rank=2)
    assert all("lora" in name for name in lora.state_dict())
    call(lora).square().sum().backward()
    # A's gradient is zero at first, where B is
    assert all(p.grad.abs().sum() > 0 for name, p in lora.named_parameters() if "lora_B" in name)
    assert all(p.grad is None for p in model.backbone.parameters() if not p.requires_grad)


def test_the_seed_decides_the_beginning(random_pipeline):
    def adapters(seed):
        model = load_model(str(random_pipeline))
        return LoRANetwork(model.backbone, model.denoiser.network, seed=seed).state_dict()

    same, other = adapters(0), adapters(1)
    assert all(torch.equal(value, adapters(0)[name]) for name, value in list(same.items())[:2])
    assert any(not torch.equal(value, other[name]) for name, value in same.items())


def test_a_camera_is_one_more_input(model):
    lora = LoRANetwork(model.backbone, model.denoiser.network, camera=True)
    near, far = torch.eye(4).flatten().expand(2, 16), 2 * torch.eye(4).flatten().expand(2, 16)
    assert not torch.allclose(call(lora, class_labels=near), call(lora, class_labels=far))
    assert any(name.startswith("camera_embedding") for name in lora.state_dict())
