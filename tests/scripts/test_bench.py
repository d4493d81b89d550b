"""The benchmark's command line."""

from __future__ import annotations

import json

import pytest
from msd_lab.bench import command


def test_its_parts_are_printed_and_written(load_script, tmp_path, capsys, monkeypatch, random_pipeline):
    bench = load_script("bench")
    monkeypatch.setattr("msd_lab.bench.overhead.asset", lambda name: str(random_pipeline))
    monkeypatch.setitem(command.QUICK, "batches", (2,))
    words = ["--parts", "overhead", "threestudio", "--rounds", "1", "--quick"]
    assert bench.main([*words, "--json", str(tmp_path / "b.json")]) == 0
    printed = capsys.readouterr().out
    assert "THREESTUDIO_ROOT names no checkout" in printed
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["threestudio"] == []
    calls = {(one["guidance"], one["batch"]): one["calls"] for one in found["overhead"]}
    assert calls["msd-guidance", 2] == 8
    assert calls["msd-sds-guidance", 2] == 1


def test_without_a_gpu_its_table_is_refused(load_script, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load_script("bench").main(["--gpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --gpu: torch finds no GPU here") and error.count("\n") == 1


@pytest.mark.slow
def test_every_part_runs(load_script, tmp_path):
    path = tmp_path / "b.json"
    assert load_script("bench").main(["--quick", "--rounds", "1", "--json", str(path)]) == 0
    assert json.loads(path.read_text())["shares"][2]["decoding_pays_from"] >= 1
