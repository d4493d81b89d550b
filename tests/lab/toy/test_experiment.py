import dataclasses
import math

import pytest
from msd_lab.toy.experiment import QUICK, Batch, Experiment, Outcome, Scale, averaged, run
from msd_lab.toy.problems import PUBLISHED1, TABLE1, Problem


def twice(problem, value, seed, scale, progress):
    return Outcome({"nll": 2.0 * value + seed}, 7, scale)


def test_quick_is_smaller_in_all_that_costs():
    whole = Scale()
    for field in dataclasses.fields(Scale):
        quick, full = getattr(QUICK, field.name), getattr(whole, field.name)
        if field.name == "training":
            quick, full = quick.steps * quick.batch, full.steps * full.batch
        elif field.name == "starts":
            quick, full = len(quick), len(full)
        assert quick < full, field.name


def test_seeds_become_a_mean_and_a_deviation_beside_the_papers_figure():
    outcomes = [Outcome({"nll": -2.0}, 16), Outcome({"nll": -1.0}, 16)]
    (found,) = averaged(TABLE1[0], "MSD", outcomes, PUBLISHED1)
    assert (found.mean, found.std, found.seeds, found.nfe) == (-1.5, pytest.approx(math.sqrt(0.5)), 2, 16)
    assert found.paper == -1.32 and found.problem == TABLE1[0]


@pytest.mark.parametrize("values", [[3.0], [math.inf, math.inf], [1.0, math.inf]])
def test_a_single_or_infinite_figure_has_no_deviation(values):
    outcomes = [Outcome({"efficiency": value}, 1) for value in values]
    (found,) = averaged(Problem("rings"), "MSD", outcomes, {})
    assert found.std is None and found.mean == max(values)


def test_runs_are_gathered_by_row_and_saved_as_they_end(tmp_path):
    problems, saved = (Problem("rings"), Problem("moons")), []
    first = Batch(problems, {"one": 1.0}, twice, learned=False)
    second = Batch(
        problems[:1],
        lambda results: {f"after {len(results.measurements)}": 5.0},
        twice,
        seeds=1,
        grid=3,
        learned=False,
    )
    whole = Experiment("test", "Test", lambda results: f"side {results.scale.grid}", [first, second])
    found = run(whole, QUICK, 2, tmp_path, saved.append)
    assert [(m.problem.density, m.method, m.mean, m.seeds) for m in found.measurements] == [
        ("rings", "one", 2.5, 2),
        ("moons", "one", 2.5, 2),
        ("rings", "after 2", 10.0, 1),
    ]
    assert [len(s) for s in saved] == [1, 1, 2, 2, 3] and saved[-1] == found.measurements
    sides = {(p.density, name): scale.grid for p, row in found.data.items() for name, scale in row.items()}
    assert sides == {("rings", "one"): 16, ("moons", "one"): 16, ("rings", "after 2"): 3}
    assert found.text == "side 3"


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    def half(path):
        path.write_bytes(b"ha")
        raise ArithmeticError

    def drawn(draw):
        return run(Experiment("a", "A", "", [], lambda _: [("a.png", draw, "A.")]), QUICK, 1, tmp_path)

    found = drawn(lambda path: path.write_bytes(b"whole"))
    assert found.pictures == [(tmp_path / "a.png", "A.")]
    with pytest.raises(ArithmeticError):
        drawn(half)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"whole"
