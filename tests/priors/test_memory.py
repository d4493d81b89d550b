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
from threestudio_msd.priors import CFG, load_model, memory
from threestudio_msd.priors.folder import ModelFolder
from threestudio_msd.priors.memory import OPTIONS, MemoryOptions


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
        "enable_vae_gradient_checkpointing": vae.encoder.gradient_checkpointing,
        "enable_compile": "forward" in vars(backbone),
        "enable_sequential_cpu_offload": True,  # without a GPU the weights are where they should be
    }[name]


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"enable_compile", "enable_vae_tiling"}))
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


def test_one_that_a_family_does_not_have_is_refused_before_weights_are_loaded(pipeline_of, monkeypatch):
    monkeypatch.setattr(ModelFolder, "load", lambda *_: pytest.fail("weights are loaded"))
    with pytest.raises(FieldError, match=r"system\.guidance\.enable_attention_slicing: .* has no UNet"):
        guided(pipeline_of("sd3"), enable_attention_slicing=True)


def test_a_tiny_autoencoder_is_not_checkpointed():
    settings = threestudio.find("msd-sds-guidance").Config
    with pytest.raises(FieldError, match="enable_vae_gradient_checkpointing: expected false with a tiny"):
        settings(enable_vae_gradient_checkpointing=True, tiny_vae_name_or_path="x/y")


def test_what_saves_nothing_is_told(random_pipeline, pipeline_of, caplog):
    for name in ("enable_vae_tiling", "enable_vae_slicing"):
        optimised = guided(random_pipeline, **{name: True})
        assert f"system.guidance.{name} " in caplog.text
        assert not optimised.model.codec.vae.use_tiling
    assert "gradient_checkpointing" in caplog.text
    assert "attention" not in caplog.text
    model = load_model(pipeline_of("if_"))
    assert memory.advice(model, ["enable_vae_slicing"]) == [
        "enable_vae_slicing does nothing: there is no autoencoder"
    ]
    assert "costs memory" in memory.advice(model, ["enable_attention_slicing"], trains_network=True)[0]


def kept_by_encoder(model, images):
    """Bytes that autograd keeps for the encoder's gradient, without the weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.codec.vae.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        latents = model.encode(images)
    return sum(kept.values()), latents


def test_checkpointing_keeps_less_for_the_same_gradient(random_pipeline):
    model, found = load_model(str(random_pipeline)), []
    for checkpointed in (False, True):
        if checkpointed:
            memory.apply(model, ["enable_vae_gradient_checkpointing"], "cpu")
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        kept, latents = kept_by_encoder(model, images)
        latents.square().sum().backward()
        found.append((kept, images.grad))
    assert found[1][0] < 0.25 * found[0][0]
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("family", "dtype", "expected"),
    [
        ("sd", "float16", "float16"),
        ("sd", "bfloat16", "bfloat16"),
        ("sdxl", "float16", "float32"),
        ("sdxl", "bfloat16", "bfloat16"),
    ],
)
def test_the_autoencoder_follows_the_dtype_but_xls_in_float16(pipeline_of, family, dtype, expected):
    model = load_model(pipeline_of(family), dtype=dtype)
    assert model.codec.vae.config.force_upcast
    assert {p.dtype for p in model.codec.vae.parameters()} == {getattr(torch, expected)}


def test_offloaded_weights_never_lie_on_the_device(random_pipeline):
    """The device without memory stands for a GPU."""
    model = load_model(str(random_pipeline), device="meta", offload=True)
    assert {p.device.type for p in model.backbone.parameters()} == {"cpu"}
    assert {p.device.type for p in model.codec.vae.parameters()} == {"meta"}
    memory.apply(model, ["enable_sequential_cpu_offload"], "meta")
    assert all(hasattr(leaf, "_hf_hook") for leaf in model.backbone.modules() if leaf._parameters)


def test_only_calls_without_a_gradient_are_compiled(random_pipeline, monkeypatch):
    model, calls = load_model(str(random_pipeline)), []
    monkeypatch.setattr(torch, "compile", lambda eager: lambda *a, **k: calls.append(1) or eager(*a, **k))
    memory.apply(model, ["enable_compile"], "cpu")
    arguments = torch.randn(1, 4, 4, 4), torch.tensor(1.0), {"encoder_hidden_states": torch.randn(1, 8, 16)}
    with_gradient = model.denoiser(*arguments)
    assert not calls
    with torch.no_grad():
        torch.testing.assert_close(model.denoiser(*arguments), with_gradient)
    assert calls
