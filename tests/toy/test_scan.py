from threestudio_msd.toy import scan, tables
from threestudio_msd.toy.measurement import averaged
from threestudio_msd.toy.problems import Problem


def test_a_set_up_counts_only_if_every_figure_is_near_the_papers():
    near = {"nll": -1.1, "precision": 0.95, "recall": 0.4, "mmd": 9.0}
    rows = [*averaged(Problem("fractal"), "near", [(near, 1)])]
    rows += averaged(Problem("fractal"), "far", [(near | {"recall": 0.1}, 1)])
    assert scan.reached(rows) == ["near"]


def test_the_command_has_a_row_a_set_up_and_says_what_reaches_the_paper(settings, monkeypatch):
    monkeypatch.setattr(scan, "LEARNING_RATES", (0.1,))
    section = tables.scan(settings)
    assert {m.method for m in section.measurements} == {
        scan.named(start, end, 0.1) for start in scan.STARTS for end in scan.ENDS
    }
    assert section.text.endswith("exact denoiser: none.")
