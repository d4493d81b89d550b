"""Estimates of runs, beside runs of the same configs on this CPU."""

from collections import Counter

import pytest
import torch
from msd_lab.bench import estimate as estimating
from msd_lab.bench.estimate import Estimate, beside_runs, estimate, gpu, lines, main, stated, whole_runs
from msd_lab.bench.recorder import Operation, Work
from msd_lab.bench.steps import CONFIGS
from omegaconf import OmegaConf

from launcher.config import read
from launcher.host import find_host, import_extensions, import_host


@pytest.fixture(scope="module", autouse=True)
def _host():
    import_host(find_host())
    import_extensions()


def settings_of(name, *overrides):
    return read(str(CONFIGS / f"{name}.yaml"), overrides)


def test_flop_and_memory_agree_with_runs(monkeypatch):
    image, scene = (estimating.BESIDE[number] for number in (0, 3))
    fewer = [
        ("msd-tiny", 2, (*image[2], "data.n_particles=2", "system.guidance.refresh_every=2")),
        (scene[0], 2, ("data.rounds=3", "data.refresh_every=2", "data.cameras_per_round=24")),
    ]
    monkeypatch.setattr(estimating, "BESIDE", fewer)
    found = list(beside_runs())
    assert len(found) == 2
    for row in found:
        assert row["estimated_gflop"] == pytest.approx(row["gflop"], rel=0.01)
        assert row["estimated_mib"] == pytest.approx(row["mib"], rel=0.15)


def test_the_shipped_recipe_costs_a_quarter_of_sds_and_half_of_sds_tinys_recipe():
    msd, published, tinys = whole_runs()
    assert published["part"] < 0.25
    assert tinys["part"] < 0.5
    assert (published["steps"], tinys["steps"]) == (400, 160)
    # 304 rows of the network and 19 decoded targets an image, at least
    assert msd["tflop"] > 4 * (304 * 0.8 + 19 * 2.5)


def test_weights_are_those_of_half_precision():
    settings = settings_of("msd-sd", "system.guidance.refresh_every=1", "trainer.max_steps=1")
    weights = 2 * (865_910_724 + 83_653_863)
    assert estimate(OmegaConf.to_container(settings)).weights == weights


def test_an_operation_takes_as_long_as_its_slowest_part(monkeypatch):
    shares = {"half": 0.5, "tf32": 0.5, "float32": 1.0, "bandwidth": 0.5}
    marked = {name: {"value": value, "basis": "measured"} for name, value in shares.items()}
    rates = {"half": 100, "tf32": 40, "float32": 10, "bandwidth": 1}
    known = {"gpus": {"x": {**rates, "name": "X", "memory": 10}}}
    others = {"microseconds_an_operation": {"value": 5, "basis": "assumed"}}
    monkeypatch.setattr(estimating, "data", lambda: {**known, "shares": marked, "others": others})
    x = gpu("x")
    assert x.seconds(Counter({Operation(torch.float16, 50e12, 0): 2})) == pytest.approx(2)
    assert x.seconds({Operation(torch.float32, 20e12, 0): 1}) == pytest.approx(1)
    assert x.seconds({Operation(torch.float32, 20e12, 0): 1}, exact=True) == pytest.approx(2)
    assert x.seconds({Operation(torch.float32, 1, 1e12): 1}) == pytest.approx(2)
    assert x.seconds({Operation(torch.float32, 0, 0): 10}) == pytest.approx(50e-6)


def test_a_run_that_does_not_fit_is_warned_of_and_every_share_is_printed():
    found = Estimate(Work(peak=30 * 2**30), 2**30, "somewhere", 10, False, ("A note.",))
    text = "\n".join(lines(found, ["4090", "a100"]))
    assert "WARNING: does not fit on 4090." in text
    assert "half 0.35 (assumed)" in text and "A note." in text
    assert "| a100 | 0 | 33.6 | 79.3 | yes |" in text


def test_gpus_are_found_by_the_name_that_torch_gives_them():
    assert stated("NVIDIA A100-SXM4-40GB").memory == 39.4
    assert stated("NVIDIA A100-SXM4-80GB").memory == 79.3
    assert stated("NVIDIA H100 PCIe").half == 756
    assert stated("Voodoo 2") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "a101"], "--gpu: expected one of"),
        (
            ["system.prompt_processor.pretrained_model_name_or_path=some/model"],
            "the size of some/model is not known",
        ),
    ],
)
def test_what_cannot_be_estimated_is_told_in_a_line(words, said, capsys):
    assert main([str(CONFIGS / "msd-sd.yaml"), *words]) == 2
    assert said in capsys.readouterr().err
