"""What the benchmark measures, on work whose cost is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msd_lab.bench import accelerators
from msd_lab.bench.accelerators import BEGIN, END, fill, peak_of, require_gpu, row
from msd_lab.bench.overhead import inputs, parts_of, recorded, replay
from msd_lab.bench.shares import Shares, flop, shares_on_meta
from msd_lab.bench.steps import LiveBytes, StepCosts, measure_steps
from threestudio_msd.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def guidance(random_pipeline):
    import threestudio

    model = {"pretrained_model_name_or_path": str(random_pipeline)}
    return threestudio.find("msd-guidance")({**model, "trainer_max_steps": 10})


def test_the_bare_calls_are_those_of_the_guidance(guidance):
    given, seen = inputs(guidance, 3), []
    calls = recorded(lambda: guidance(**given), parts_of(guidance.model))
    network = [args for module, args, *_ in calls if module is guidance.model.backbone]
    assert len(network) == 8  # of the sampler's steps
    assert {len(args[0]) for args in network} == {6}  # two branches in one batch
    guidance.model.backbone.register_forward_hook(lambda module, args, out: seen.append(out[0]))
    replay(calls)
    replay(calls)
    assert len(seen) == 16
    assert torch.equal(seen[3], seen[11])


def test_shares_say_from_which_refresh_on_a_decoded_target_pays():
    shares = Shares(0.0, 0.0, encode=2.0, encode_backward=4.0, network=1.0, decode=10.0)
    assert shares.decoding_pays_from == 3
    for refresh, pays in ((1, False), (2, False), (3, True), (8, True)):
        assert (shares.msd_step(refresh, decoded=True) < shares.msd_step(refresh, decoded=False)) == pays
    assert shares.sds_step() == 2 + 4 + 2


def test_encoding_and_its_gradient_are_half_of_an_sds_step_of_stable_diffusion():
    found = shares_on_meta("sd21")
    assert found["parameters"] == 865_910_724 + 83_653_863
    assert found["resolution"] == 512
    assert 0.6 < found["network"] < 1.0  # some 0.4 T multiply-adds at 64 x 64
    assert 0.4 < (found["encode"] + found["encode_backward"]) / found["steps"]["sds"] < 0.7
    assert found["encode_backward"] == pytest.approx(found["encode"], rel=0.1)  # its weights have none


def test_flop_are_counted():
    weights = torch.ones(8, 4)
    assert flop(lambda: torch.ones(2, 8) @ weights) == 2 * 2 * 8 * 4


def test_live_bytes_are_those_alive_at_once():
    kept = torch.zeros(1000)
    with LiveBytes() as live:
        for _ in range(5):
            made = kept + 1.0
            made = made.view(10, 100)
            del made
        kept.add_(1.0)
        both = (kept + 1.0, kept + 2.0)
    assert live.peak == 8000
    assert len(both) == 2


def test_a_step_is_measured_as_the_trainer_takes_it(random_pipeline):
    from launcher.config import read

    model = f"system.prompt_processor.pretrained_model_name_or_path={random_pipeline}"
    small = ["data.n_particles=1", "data.height=16", "data.width=16", "system.progress_every=100"]
    config = read(str(ROOT / "configs" / "sds-tiny.yaml"), [model, *small])
    costs = measure_steps(config, 1)
    assert costs.seconds > 0 and costs.flop > 0
    assert costs.bytes > costs.weights > 4 * 50_000


def test_without_a_gpu_its_table_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--gpu: torch finds no GPU here"):
        require_gpu()


def test_the_gpu_table_is_put_between_its_marks(tmp_path):
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    fill(page, "some GPU", "| a table |")
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "On some GPU:\n\n| a table |\n" in text
    fill(page, "some GPU", "| a table |")
    assert page.read_text() == text
    page.write_text("no marks")
    with pytest.raises(UserError, match="no place for the table"):
        fill(page, "some GPU", "")


def test_a_row_of_the_gpu_table_has_costs_or_the_error(monkeypatch):
    costs = [StepCosts(0.5, 2e12, 3 * 2**30, 2**30)] * 2

    def measured(config, steps):
        if not costs:
            raise torch.OutOfMemoryError
        return costs.pop()

    monkeypatch.setattr(accelerators, "measure_steps", measured)
    assert row("msd-sd", None, 8, 16e12) == ("msd-sd", "3.00", "1.00", "2.00", "2.00", "25 %")
    assert row("msd-sd", None, 8, None)[-1] == "–"
    assert row("msd-flux", None, 8, None) == ("msd-flux", "OutOfMemoryError", "–", "–", "–", "–")


def test_the_page_has_a_place_for_the_table():
    text = (ROOT / "docs" / "gpu.md").read_text()
    assert text.index(BEGIN) < text.index(END)


@pytest.mark.parametrize(("name", "peak"), [("NVIDIA H100 PCIe", 756e12), ("some new GPU", None)])
def test_peaks_go_by_name(name, peak):
    assert peak_of(name) == peak
