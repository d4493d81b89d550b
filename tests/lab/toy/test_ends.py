import torch
from msd_lab.toy.ends import compare, frontier, optimised, sampled
from msd_lab.toy.problems import TABLE1, Problem


def test_a_table_has_a_figure_for_every_method_and_metric(tiny):
    saved = []
    found = compare(TABLE1[:1], ("DDIM", "MSD"), 2, tiny, "test", saved.append)
    assert {(m.method, m.metric) for m in found} == {
        (method, metric)
        for method in ("DDIM", "MSD")
        for metric in ("nll", "precision", "recall", "mmd", "modes")
    }
    (figure,) = [m for m in found if (m.method, m.metric) == ("MSD", "nll")]
    assert figure.seeds == 2 and figure.paper == -1.32 and figure.std > 0 and figure.nfe == 4 * 16
    assert len(saved) == 4 and saved[-1] == found


def test_samples_lie_on_the_density(tiny):
    problem = Problem("8gaussians")
    points = sampled(problem, 0, tiny)
    distance = torch.cdist(points, problem.target().means).amin(1)
    assert points.shape == (36, 2) and float(distance.max()) < 4 * 0.0875


def test_vsd_moves_points_and_counts_its_phi(tiny):
    moved = optimised(Problem("8gaussians"), "VSD", 0, tiny, record_every=2)
    assert moved.path.shape == (3, 36, 2) and moved.nfe == 2 * tiny.steps
    assert not torch.equal(moved.points, moved.path[0])


def test_the_frontier_has_a_row_a_start(tiny):
    found = frontier([Problem("8gaussians")], tiny, lambda measurements: None)
    recall = {m.method: m.mean for m in found if m.metric == "recall"}
    assert list(recall) == ["λ from 0.2", "λ from 0.6"]
    assert recall["λ from 0.2"] != recall["λ from 0.6"]
