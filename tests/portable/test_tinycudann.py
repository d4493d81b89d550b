"""Encodings against closed forms and a naive reference, networks against matrices, second derivatives."""

import itertools
import math

import pytest
import tinycudann as tcnn
import torch

torch.manual_seed(0)


def grid(otype, dims, **settings):
    config = {"otype": otype, "n_levels": 3, "base_resolution": 4, "per_level_scale": 1.5, **settings}
    return tcnn.Encoding(dims, config)


def naive_grid(encoding, point, table_index):
    """One point's features, corner by corner, with Python numbers."""
    core, out, start = encoding.encoding, [], 0
    features = core.params.detach().view(-1, core.n_features)
    for scale, resolution, size in zip(core.scales, core.resolutions, core.sizes, strict=True):
        position = [float(x) * scale + 0.5 for x in point]
        cell = [math.floor(p) for p in position]
        value = torch.zeros(core.n_features)
        for corner in itertools.product((0, 1), repeat=len(point)):
            at = [c + d for c, d in zip(cell, corner, strict=True)]
            ramps = [p - c for p, c in zip(position, cell, strict=True)]
            w = math.prod(r if d else 1 - r for r, d in zip(ramps, corner, strict=True))
            value += w * features[start + table_index(at, resolution, size) % size]
        out.append(value)
        start += size
    return torch.cat(out)


def dense_index(at, resolution, size):
    return sum(c * resolution**d for d, c in enumerate(at))


def hash_index(at, resolution, size):
    if resolution ** len(at) <= size:
        return dense_index(at, resolution, size)
    primes = (1, 2654435761, 805459861)
    hashed = 0
    for c, prime in zip(at, primes, strict=False):
        hashed ^= c * prime % 2**32
    return hashed


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("otype", "settings", "index"),
    [("DenseGrid", {}, dense_index), ("HashGrid", {"log2_hashmap_size": 5}, hash_index)],
)
def test_grids_interpolate_like_the_naive_reference(dims, otype, settings, index):
    encoding = grid(otype, dims, **settings)
    points = torch.rand(20, dims)
    encoded = encoding(points)
    assert encoded.shape == (20, encoding.n_output_dims) == (20, 6)
    for point, row in zip(points, encoded, strict=True):
        assert torch.allclose(row, naive_grid(encoding, point, index), atol=1e-9, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_fast_path_is_the_plain_one_with_its_gradient(dims):
    core = grid("HashGrid", dims, log2_hashmap_size=5).encoding
    points = torch.rand(30, dims)
    found, gradients = [], []
    for differentiable in (False, True):
        core.params.grad = None
        found.append(core(points.clone().requires_grad_(differentiable)))
        (found[-1] * torch.arange(6)).sum().backward()
        gradients.append(core.params.grad)
    assert torch.allclose(*found, atol=1e-9)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_a_dense_grid_reproduces_a_multilinear_function():
    encoding = grid("DenseGrid", 3, n_levels=1, n_features_per_level=1, base_resolution=5)
    core = encoding.encoding
    resolution, scale = core.resolutions[0], core.scales[0]
    axis = (torch.arange(resolution) - 0.5) / scale  # where the corners lie
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    with torch.no_grad():
        core.params[: resolution**3] = (1 + 2 * x - y + 3 * x * y * z).flatten()
    x, y, z = (p := torch.rand(50, 3) * 0.7 + 0.15).T  # inside the outermost corners
    assert torch.allclose(encoding(p)[:, 0], 1 + 2 * x - y + 3 * x * y * z, atol=1e-5)


def test_table_sizes_are_tinycudanns():
    hashed = grid("HashGrid", 3, n_levels=4, base_resolution=16, per_level_scale=2.0, log2_hashmap_size=14)
    assert hashed.encoding.scales == [15, 31, 63, 127]
    assert hashed.encoding.resolutions == [16, 32, 64, 128]
    assert hashed.encoding.sizes == [4096, 16384, 16384, 16384]
    assert grid("DenseGrid", 2, base_resolution=5).encoding.sizes[0] == 32  # 25 corners, to a multiple of 8
    assert hashed.encoding.params.abs().max() <= 1e-4


def test_frequencies():
    x = torch.rand(5, 2)
    encoded = tcnn.Encoding(2, {"otype": "Frequency", "n_frequencies": 3})(x)
    expected = [
        f(2**k * math.pi * x[:, d]) for d in range(2) for k in range(3) for f in (torch.sin, torch.cos)
    ]
    assert torch.allclose(encoded, torch.stack(expected, dim=1), atol=1e-5)


def directions(n):
    """Gauss-Legendre in z times equal angles: integrates polynomials on the sphere exactly. Points and
    weights.
    """
    from numpy.polynomial.legendre import leggauss

    z, weight = (torch.tensor(values) for values in leggauss(n))
    phi = math.pi * torch.arange(2 * n, dtype=torch.float64) / n
    radius = (1 - z**2).sqrt()
    xyz = torch.stack(
        [radius[:, None] * phi.cos(), radius[:, None] * phi.sin(), z[:, None].expand(-1, 2 * n)], dim=-1
    )
    return xyz.reshape(-1, 3), (weight[:, None] * math.pi / n).expand(-1, 2 * n).reshape(-1)


def test_spherical_harmonics_are_orthonormal():
    encoding = tcnn.Encoding(3, {"otype": "SphericalHarmonics", "degree": 5})
    xyz, weight = directions(6)
    y = encoding((xyz + 1) / 2)
    assert y.shape[1] == encoding.n_output_dims == 25
    assert torch.allclose(y.T @ (weight[:, None] * y), torch.eye(25, dtype=y.dtype), atol=1e-9)


def test_spherical_harmonics_have_tinycudanns_order_and_signs():
    xyz = torch.nn.functional.normalize(torch.randn(7, 3), dim=-1)
    x, y, z = xyz.T
    expected = [
        torch.full_like(x, 0.28209479177387814),
        -0.48860251190291987 * y,
        0.48860251190291987 * z,
        -0.48860251190291987 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.94617469575755997 * z * z - 0.31539156525251999,
        -1.0925484305920792 * x * z,
        0.54627421529603959 * (x * x - y * y),
    ]
    encoded = tcnn.Encoding(3, {"otype": "SphericalHarmonics", "degree": 3})((xyz + 1) / 2)
    assert torch.allclose(encoded, torch.stack(expected, dim=1), atol=1e-6)


@pytest.mark.parametrize("otype", ["FullyFusedMLP", "CutlassMLP", "VanillaMLP"])
def test_networks_are_matrices_and_activations(otype):
    config = {
        "otype": otype,
        "activation": "ReLU",
        "output_activation": "Sigmoid",
        "n_neurons": 8,
        "n_hidden_layers": 2,
    }
    network = tcnn.Network(3, 2, config)
    first, second, last = (layer.weight for layer in network.network.layers)
    assert [tuple(w.shape) for w in (first, second, last)] == [(8, 3), (8, 8), (2, 8)]
    x = torch.rand(5, 3)
    expected = torch.sigmoid((((x @ first.T).clamp(min=0)) @ second.T).clamp(min=0) @ last.T)
    assert torch.allclose(network(x), expected)


def test_a_network_behind_an_encoding():
    encoding = {"otype": "Frequency", "n_frequencies": 2}
    network = {"otype": "FullyFusedMLP", "n_neurons": 16, "n_hidden_layers": 1}
    both = tcnn.NetworkWithInputEncoding(2, 3, encoding, network)
    x = torch.rand(4, 2)
    assert both(x).shape == (4, 3)
    assert torch.equal(both(x), both.network(both.encoding(x)))


def test_seeds_and_types():
    config = {"otype": "HashGrid", "n_levels": 2, "log2_hashmap_size": 6}
    same, other = tcnn.Encoding(2, config), tcnn.Encoding(2, config, seed=1)
    assert torch.equal(same.encoding.params, tcnn.Encoding(2, config).encoding.params)
    assert not torch.equal(same.encoding.params, other.encoding.params)
    assert tcnn.Encoding(2, config, dtype=torch.float16)(torch.rand(3, 2)).dtype == torch.float16
    tcnn.free_temporary_memory()


@pytest.mark.parametrize(
    "config",
    [
        {"otype": "HashGrid", "n_levels": 2, "base_resolution": 3, "log2_hashmap_size": 4},
        {"otype": "DenseGrid", "n_levels": 2, "base_resolution": 3},
        {"otype": "Frequency", "n_frequencies": 2},
        {"otype": "SphericalHarmonics", "degree": 4},
    ],
)
def test_encodings_have_first_and_second_derivatives(config):
    encoding = tcnn.Encoding(3, config).double()
    if "Grid" in config["otype"]:
        with torch.no_grad():
            encoding.encoding.params.normal_()
    x = (torch.rand(3, 3, dtype=torch.float64) * 0.9 + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(encoding, (x,))
    assert torch.autograd.gradgradcheck(encoding, (x,))


def test_parameters_get_mixed_second_derivatives():
    # an eikonal loss: the gradient of an input gradient with respect to the grid's parameters
    encoding = grid("HashGrid", 3, log2_hashmap_size=6)
    x = torch.rand(5, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(encoding(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert encoding.encoding.params.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tcnn.Encoding(2, {"otype": "OneBlob"}), "unknown encoding 'OneBlob': only Grid,"),
        (lambda: tcnn.Encoding(2, {"otype": "Grid", "type": "Sparse"}), "unknown grid type 'Sparse'"),
        (lambda: grid("HashGrid", 2, interpolation="Cubic"), "unknown interpolation 'Cubic'"),
        (lambda: grid("HashGrid", 8), "at most 7 dimensions"),
        (lambda: tcnn.Encoding(2, {"otype": "SphericalHarmonics"}), "takes 3 dimensions, not 2"),
        (lambda: tcnn.Network(2, 1, {"otype": "KAN"}), "unknown network 'KAN'"),
        (lambda: tcnn.Network(2, 1, {"otype": "MLP", "activation": "Gelu"}), "unknown activation 'Gelu'"),
    ],
)
def test_unknown_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
