"""The check of a GPU, as far as a CPU can rehearse it."""

import time

import pytest
from msd_lab.bench import check
from msd_lab.bench.check import PARTS, Bench, block, main, rows
from msd_lab.bench.estimate import stated

needs_none = pytest.mark.skipif(check.torch.cuda.is_available(), reason="there is a GPU")


@needs_none
def test_without_a_gpu_it_says_so_in_one_line(capsys):
    assert main([]) == 2
    said = capsys.readouterr().err.strip()
    assert "torch finds no GPU here" in said and "\n" not in said


def test_every_part_runs_and_the_block_says_that_it_is_a_rehearsal(monkeypatch, capsys):
    monkeypatch.setattr(check, "CONFIGS_CHECKED", ("msd-sd",))
    assert main(["--rehearse"]) == 0
    printed = capsys.readouterr().out
    text = printed[printed.index("###") :]
    assert text.startswith("### REHEARSAL on a CPU")
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == 5 + 9 + 2 + 1 + 1
    left_out = [line for line in lines if "left out" in line]
    assert len(left_out) == 1 and "are not on this machine" in left_out[0]  # the weights
    assert "| gradient of an up block, aot_eager against eager | 0 off |" in text


def test_a_part_that_fails_or_comes_too_late_has_its_reason(monkeypatch):
    def runs_out(bench):
        yield "first", "1 ms", ""
        raise check.torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def slow(bench):
        time.sleep(0.05)
        yield "slow", "2 ms", ""

    monkeypatch.setattr(check, "PARTS", {"runs_out": runs_out, "slow": slow, "late": slow})
    found = list(rows(Bench("cpu", "tiny", None, None), minutes=0.04 / 60))
    assert found == [
        ("first", "1 ms", ""),
        ("runs_out", "left out: OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", ""),
        ("slow", "2 ms", ""),
        ("late", "left out: the time is up", ""),
    ]


def test_rates_are_told_as_shares_of_what_the_maker_states(tmp_path):
    bench = Bench("cpu", "tiny", tmp_path, stated("NVIDIA A100-SXM4-80GB"))
    assert bench.share("half", 31.2) == "0.10 of 312 TFLOP/s"
    assert Bench("cpu", "tiny", tmp_path, stated("NVIDIA T4")).share("tf32", 1) == "not stated"
    found = dict(row[:2] for row in PARTS["rates"](bench))
    assert found["copy"].endswith("TB/s") and float(found["product of matrices, tf32"].split()[0]) > 0


def test_the_block_is_a_table(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "PARTS", {"one": lambda bench: iter([("a", "b", "c")])})
    assert block(Bench("cpu", "tiny", tmp_path, None), 1).endswith("|---|---|---|\n| a | b | c |")
