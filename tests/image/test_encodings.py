"""Encodings of points in the plane."""

from __future__ import annotations

import pytest
import torch
from threestudio_msd.image.encodings import FourierEncoding, HashGridEncoding


def points(count=50):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(0))


def test_hash_grid_interpolates_linearly_between_vertices():
    generators = [torch.Generator().manual_seed(0)]
    encoding = HashGridEncoding({"n_levels": 1, "base_resolution": 2, "n_features_per_level": 1}, generators)
    with torch.no_grad():
        encoding.tables[0, :, 0] = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 7, 8])  # x + 3 y at vertex (x, y)
    coordinates = points(20)
    expected = 2 * coordinates[:, 0] + 3 * 2 * coordinates[:, 1]
    assert torch.allclose(encoding(coordinates)[0, :, 0], expected, atol=1e-5)
    assert encoding(torch.tensor([[1.0, 1.0]])).item() == pytest.approx(8)


def test_fourier_frequencies_have_the_scale_asked_for():
    encoding = FourierEncoding({"n_frequencies": 5000, "scale": 3.0}, [torch.Generator().manual_seed(0)])
    assert encoding.frequencies.std() == pytest.approx(3.0, rel=0.02)
