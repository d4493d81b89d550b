"""`scripts/ablate.py`: which comparisons it asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msd_lab.compare import ablate
from msd_lab.compare.ablate import FIGURE, FIRST_SEED
from msd_lab.compare.results import About, Results, Row, to_json
from msd_lab.report.table import Spread

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MSD, SDS = (str(CONFIGS / f"{name}-tiny.yaml") for name in ("msd", "sds"))


@pytest.fixture
def asked(load_script, monkeypatch):
    """Runs the program in this process: its status, and the comparisons that it asked for instead of run."""
    script = load_script("ablate")

    def compare(title, out, methods, prompts, others):
        made.append((title, out, list(methods), list(prompts), list(others)))
        rows = {
            word.partition("=")[0]: Row(8, 32, 1, 1, {FIGURE: Spread((float(9 - i),))}, ())
            for i, word in enumerate(methods)
        }
        about = About("judge", 1, 1, (0,), (), {})
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(
            json.dumps(to_json(Results(about, {FIGURE: Spread((1.0,))}, {"nfe=32": rows})))
        )
        return len(made) - 1

    made = []
    monkeypatch.setattr(ablate, "compare", compare)
    return lambda *words: (script.main([*map(str, words)]), made)


def test_every_group_is_a_comparison_and_the_worst_status_counts(asked, tmp_path):
    words = ["--config", MSD, "--prompts", "a red mug", "--only", "noise", "scale", "--out", tmp_path]
    status, made = asked(*words, "--seeds", 2)
    assert status == 1
    assert [title for title, *_ in made] == ["Ablation: noise", "Ablation: scale"]
    assert [len(methods) for _, _, methods, _, _ in made] == [2, 4]
    assert made[0][3:] == (["a red mug"], ["--seeds", "2"])


def test_a_search_tries_on_prompts_and_seeds_of_its_own_and_compares_the_best(asked, tmp_path, capsys):
    words = ["--search", 3, "--search-prompts", "a red car", "--config", MSD, SDS, "--prompts", "a red mug"]
    status, made = asked(*words, "--out", tmp_path, "--budget", "nfe=32")
    assert status == 1
    (_, _, tried, apart, others), (_, _, best, prompts, last) = made
    assert [word.partition("=")[0] for word in tried] == [
        "MSD 0",
        "MSD 1",
        "MSD 2",
        "SDS 0",
        "SDS 1",
        "SDS 2",
    ]
    assert (apart, others) == (["a red car"], ["--budget", "nfe=32", "--first-seed", FIRST_SEED])
    assert (prompts, last) == (["a red mug"], ["--budget", "nfe=32"])
    assert capsys.readouterr().out.count(": chosen of 3 trials: system.guidance.guidance_scale=") == 2
    # the last trial of either has the least distance here
    assert [word.partition("=")[2] for word in best] == [tried[i].partition("=")[2] for i in (2, 5)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config", "none.yaml"], "--config: expected one file, got none.yaml"),
        (["--config", MSD, SDS], "--config: expected one file"),
        (["--config", MSD, "--search", "1", "--search-prompts", "a red car"], "--search: expected 2 or more"),
        (["--config", MSD, "--search", "4", "--search-prompts", "a red mug"], "is among --prompts too"),
        (["--config", MSD, "--search", "4"], "--search-prompts: none given"),
    ],
)
def test_bad_input_is_one_clear_line(asked, words, told, tmp_path, capsys):
    status, made = asked(*words, "--prompts", "a red mug", "--out", tmp_path)
    assert (status, made) == (2, [])
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
