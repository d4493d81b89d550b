"""Options of memory, speed and precision: each is applied, and none changes a result beyond rounding."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from msd_lab.bench.architectures import CROSS, SIMPLE, blocks
from msd_lab.bench.random_pipelines import save_random_pipeline
from threestudio_msd.distillation import SampleNoise, Split
from threestudio_msd.fields import FieldError
from threestudio_msd.priors import CFG, PriorError, load_model
from threestudio_msd.priors.memory import OPTIONS, MemoryOptions, method


def guided(folder, **options):
    return threestudio.find("msd-sds-guidance")({"pretrained_model_name_or_path": str(folder), **options})


@pytest.fixture(scope="module")
def plain(random_pipeline):
    """A guidance without options, with its loss and gradient."""
    guidance = guided(random_pipeline)
    return guidance, loss_and_gradient(guidance)


def loss_and_gradient(guidance):
    rgb = renders()
    loss = guidance(rgb, PromptUtils(), **cameras(2))["loss_sds"]
    loss.backward()
    return loss.detach(), rgb.grad


def is_on(guidance, name):
    """Whether an option has reached network and autoencoder."""
    vae, backbone = guidance.model.codec.vae, guidance.model.backbone
    return {
        "enable_channels_last_format": backbone.conv_in.weight.is_contiguous(
            memory_format=torch.channels_last
        ),
        "enable_attention_slicing": "Sliced" in str(backbone.attn_processors),
        "enable_vae_slicing": vae.use_slicing,
        "enable_vae_tiling": vae.use_tiling,
        "enable_compile": backbone._compiled_call_impl is not None,
        "enable_sequential_cpu_offload": True,  # without a GPU the weights are where they should be
    }[name]


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"enable_compile"}))
def test_an_option_is_applied_and_changes_no_result(random_pipeline, plain, name):
    optimised, (without, expectations) = guided(random_pipeline, **{name: True}), plain
    assert is_on(optimised, name)
    assert not is_on(without, name) or name == "enable_sequential_cpu_offload"
    for ours, expected in zip(loss_and_gradient(optimised), expectations, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_misspelt_option_is_told_the_nearest(random_pipeline):
    with pytest.raises(FieldError, match=r"enable_vae_tilling: unknown key.*enable_vae_tiling"):
        guided(random_pipeline, enable_vae_tilling=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_are_float32_whatever_the_network_computes_in(random_pipeline, dtype):
    half = guided(random_pipeline, dtype=dtype, guidance_scale=7.5)
    assert {p.dtype for p in half.model.backbone.parameters()} == {getattr(torch, dtype)}
    loss, gradient = loss_and_gradient(half)
    assert loss.dtype == gradient.dtype == torch.float32
    _, expected = loss_and_gradient(guided(random_pipeline, guidance_scale=7.5))
    assert torch.cosine_similarity(gradient.flatten(), expected.flatten(), 0) > 0.98


NEW = pytest.mark.new_diffusers
ONE_BLOCK = {
    "sdxl": {"block_out_channels": (16,), **blocks(CROSS)},
    "if": {"block_out_channels": (32,), **blocks(SIMPLE)},
}
"""UNets small enough to be traced in a second; sd has the same one as sdxl, without further conditions."""


@pytest.mark.parametrize(
    "like", ["sdxl", "if", pytest.param("sd3", marks=NEW), pytest.param("flux", marks=NEW)]
)
def test_the_sampling_loop_has_no_graph_break(tmp_path, like):
    """A break raises with `fullgraph`; every solver step runs the one graph that the first one made."""
    folder = save_random_pipeline(tmp_path, like, changes={"unet": ONE_BLOCK.get(like, {})})
    model, compiled = load_model(str(folder)), []
    expected = drawn(model)

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    torch._dynamo.reset()
    model.backbone.compile(fullgraph=True, backend=backend)
    torch.testing.assert_close(drawn(model), expected)
    assert len(compiled) == 1


def drawn(model):
    """A product sample of eight steps under guidance, with random prompts."""
    embeddings = torch.randn(4, 9, 32, generator=torch.Generator().manual_seed(0))
    if "16" in str(getattr(model.backbone.config, "cross_attention_dim", "")):
        embeddings = embeddings[..., :16]
    prior = CFG(model.denoiser, model.condition(embeddings[:2]), model.condition(embeddings[2:]), 7.5)
    y = torch.zeros(2, *model.latent_shape)
    with torch.no_grad():
        return Split(steps=8)(y, 1.0, prior, SampleNoise([0, 1])).x


@pytest.mark.slow
def test_a_compiled_network_gives_the_same(random_pipeline):
    plain, optimised = guided(random_pipeline), guided(random_pipeline, enable_compile=True)
    torch._dynamo.reset()
    for ours, expected in zip(loss_and_gradient(optimised), loss_and_gradient(plain), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


def test_adapters_are_not_trained_on_an_offloaded_network():
    settings = threestudio.find("msd-vsd-guidance").Config
    with pytest.raises(FieldError, match="enable_sequential_cpu_offload: expected false"):
        settings(enable_sequential_cpu_offload=True)


def test_every_option_is_a_setting():
    assert set(OPTIONS) == set(MemoryOptions.__dataclass_fields__)


def test_one_that_a_model_does_not_have_is_refused():
    with pytest.raises(PriorError, match="a Linear has no enable_tiling: leave that option off"):
        method(torch.nn.Linear(1, 1), "enable_tiling")
