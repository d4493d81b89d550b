"""The sum of dense lattices."""

from __future__ import annotations

import pytest
import threestudio
import torch


def grid(**changes):
    return threestudio.find("msd-multiscale-grid")({"sizes": [3, 5], "radius": 0.5, **changes})


def test_lattices_add_up_and_points_outside_the_ball_are_empty():
    made = grid(init_scale=0.0, density_blob_scale=0.0, sharpness=2.0)
    made.grids[0].data[:, 0] = 1.0
    made.grids[1].data[:, 0] = 2.0
    made.grids[1].data[:, 1:] = 0.25
    out = made(torch.tensor([[0.0, 0, 0], [0.3, 0.1, -0.2], [0.45, 0.45, 0.0]]))
    inside = 2 * torch.nn.functional.softplus(torch.tensor(3.0))
    assert torch.allclose(out["density"][:, 0], torch.tensor([inside, inside, 0.0]))
    assert torch.allclose(out["features"][:2], torch.full((2, 3), 0.25))


def test_values_are_trilinear_between_lattice_points():
    made = grid(sizes=[2], init_scale=0.0, density_blob_scale=0.0)
    x = torch.tensor([-1.0, 1.0])
    made.grids[0].data[0, 1] = x  # the last axis is x
    points = torch.tensor([[0.1, 0.2, -0.3], [-0.25, 0.0, 0.1]])
    assert torch.allclose(made(points)["features"][:, 0], points[:, 0] / 0.5)


def test_equal_seeds_give_equal_grids():
    assert torch.equal(grid(seed=1).grids[0], grid(seed=1).grids[0])
    assert not torch.equal(grid(seed=1).grids[0], grid(seed=2).grids[0])


def test_normals_of_the_initial_ball_point_outwards():
    points = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1) * 0.3
    normal = grid(init_scale=0.0, sizes=[65])(points, output_normal=True)["normal"]
    assert torch.allclose(normal, points / 0.3, atol=5e-3)


def test_an_exported_colour_is_what_is_seen_from_outside():
    """A dense ball of one colour under a skin of another: points in the skin and below it show the skin."""
    made = grid(sizes=[41], init_scale=0.0, density_blob_scale=0.0)
    axis = torch.linspace(-0.5, 0.5, 41)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    made.grids[0].data[0, 0] = torch.where(radius < 0.3, 50.0, -50.0)
    made.grids[0].data[0, 1] = torch.where(radius < 0.2, -5.0, 5.0)
    points = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1) * 0.3
    assert torch.allclose(made.export(points)["features"][:, 0], torch.tensor(5.0), atol=1e-3)
    assert made.export(torch.zeros(1, 3) + 0.45)["features"].abs().max() == 0  # nothing there sends light


def test_total_variation_counts_the_surface_in_cells():
    made = grid(sizes=[21], init_scale=0.0, density_blob_scale=0.0)
    made.grids[0].data[:, 0] = -50.0
    made.grids[0].data[:, 0, 5:15, 5:15, 5:15] = 50.0
    assert made.total_variation().item() == pytest.approx(6 * 10 * 10, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": []}, "sizes"),
        ({"sizes": [8, 4]}, "ascending"),
        ({"sharpness": 0.0}, "sharpness must be positive"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(Exception, match=message):
        grid(**changes)
