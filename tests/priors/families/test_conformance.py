"""Every family is its own pipeline: final latents, guidance, scaling and packing, on random networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from msd_lab.bench import conformance
from msd_lab.bench.conformance import CASES, compare
from msd_lab.commands import COMMANDS
from threestudio_msd.errors import UserError
from threestudio_msd.priors import FAMILIES

pytestmark = pytest.mark.new_diffusers


def test_every_family_has_a_case():
    assert {*CASES} == {*FAMILIES}


@pytest.mark.parametrize("pipeline", CASES)
def test_a_family_is_its_pipeline(pipeline):
    """To 1e-4 of the greatest latent; a time times .9, or w + 1, misses by more than 1e-2."""
    row = compare(pipeline)
    print(row)  # its misses
    assert not row.complaints
    assert row.bfloat16 < 0.4


def test_in_half_precision_the_network_is_told_the_exact_time(pipeline_of):
    """bfloat16 would turn .8492 into .8477."""
    from threestudio_msd.priors import load_model

    times, model = [], load_model(pipeline_of("flux"), dtype="bfloat16")
    denoiser = model.denoiser.with_network(lambda z, t, **_: times.append(t) or z)
    denoiser(torch.zeros(1, *model.latent_shape), torch.tensor(0.8492 / (1 - 0.8492)), {})
    assert times[0].dtype == torch.float32
    assert abs(float(times[0]) - 0.8492) < 1e-6


def test_the_command_prints_verified_or_what_changed(capsys, monkeypatch):
    command = COMMANDS["conformance"]
    assert command(["PixArtSigmaPipeline"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("verified")
    wrong = {"PixArtSigmaPipeline": replace(CASES["PixArtSigmaPipeline"], offset=1.0)}
    monkeypatch.setattr(conformance, "CASES", wrong)
    assert command(["PixArtSigmaPipeline"]) == 1
    assert "final latents differ by" in capsys.readouterr().out


def test_a_class_that_diffusers_lacks_or_nobody_knows_is_named(capsys, monkeypatch):
    with pytest.raises(UserError, match="did you mean 'ZImagePipeline'"):
        conformance.run(conformance.argparse.Namespace(pipelines=["ZImagePipelin"]))
    import diffusers

    monkeypatch.delitem(diffusers.__dict__, "SanaPipeline", raising=False)
    monkeypatch.delitem(getattr(diffusers, "_class_to_module", {}), "SanaPipeline", raising=False)
    _, found = conformance.outcome("SanaPipeline")
    assert "which diffusers" in found and "lacks" in found
