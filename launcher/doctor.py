"""What this machine lacks for a config: host, packages, device, model, memory; each finding with what mends
it.

Nothing is trained and no weights are loaded or downloaded.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from threestudio_msd.errors import UserError, install
from threestudio_msd.machine import device_memory

from launcher.host import find_host, import_extensions, import_host

GIB = 2**30
WEIGHTS_SHARE = 0.8  # of a device's memory that weights may fill, to leave a step some room


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: The thing, and how it is.
        mend: The command or the setting that mends it; empty where all is well.
        stops: Whether the config does not run before it is mended.
    """

    what: str
    mend: str = ""
    stops: bool = False

    def __str__(self) -> str:
        mark = "[stop]" if self.stops else "[note]" if self.mend else "[ok]"
        return f"{mark:6} {self.what}" + (f"\n       {self.mend}" if self.mend else "")


@dataclass(frozen=True)
class Package:
    """A package that some or all configs need.

    Attributes:
        name: On the package index.
        module: What is imported.
        least: The oldest version that setup.py takes; empty for one that it does not ask for.
        install: What installs it, where that is not `pip install NAME`.
    """

    name: str
    module: str
    least: str = ""
    install: str = ""

    @property
    def command(self) -> str:
        return self.install or f"pip install '{self.name}>={self.least}'"


PACKAGES = (
    Package("torch", "torch", "2.4"),
    Package("pytorch-lightning", "pytorch_lightning", "2.4"),
    Package("diffusers", "diffusers", "0.33"),
    Package("transformers", "transformers", "4.48"),
    Package("safetensors", "safetensors", "0.4.5"),
    Package("omegaconf", "omegaconf", "2.3"),
)
T5_PACKAGES = (
    Package("sentencepiece", "sentencepiece", "0.2", install("t5")),
    Package("protobuf", "google.protobuf", "4", install("t5")),
)
PEFT = Package("peft", "peft", "0.14")
NERFACC = Package("nerfacc", "nerfacc", "0.5.3")
REAL_HOST = (
    Package(
        "tinycudann",
        "tinycudann",
        install="pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch",
    ),
    Package("nvdiffrast", "nvdiffrast", install="pip install git+https://github.com/NVlabs/nvdiffrast/"),
    NERFACC,
)
"""What threestudio itself imports at once, whatever the config."""


def examine(config: str, overrides: list[str]) -> Iterator[Finding]:
    """Look at everything that a config needs.

    Args:
        config: Its YAML file.
        overrides: `key=value`, as for `launch.py`.

    Yields:
        What was found, in the order in which a run would meet it; what depends on a thing that is missing is
        left out.
    """
    missing = [finding for package in PACKAGES if (finding := of_package(package)).stops]
    yield from missing or map(of_package, PACKAGES)
    if missing:
        return
    try:
        described = find_host()
        real = not described.startswith("portable")
        yield from map(of_package, REAL_HOST if real else ())
        import_host(described)
        import_extensions()
    except UserError as error:
        yield Finding(f"host: {error}", "see the message", stops=True)
        return
    from launcher.checks.config import read_settings  # torch and omegaconf may have been missing

    yield Finding(f"host: {described}")
    yield of_device()
    try:
        settings = read_settings(config, overrides)
    except UserError as error:
        yield Finding(f"{config}: {error}", "change the setting, as the message says", stops=True)
        return
    yield Finding(f"{config}: its settings are right")
    yield from of_settings(settings)


def of_package(package: Package) -> Finding:
    """Whether a package is there, and new enough."""
    if not is_installed(package.module):
        return Finding(f"{package.name}: is missing", package.command, stops=True)
    try:
        version = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:  # a stand-in, or one that was built by hand
        return Finding(f"{package.name}: is there")
    if package.least and numbers(version) < numbers(package.least):
        return Finding(f"{package.name} {version}: older than what is tested", package.command)
    return Finding(f"{package.name} {version}")


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it is part of
        return False


def numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers: (2, 4, 0) of 2.4.0+cpu."""
    parts = version.split("+")[0].split(".")[:3]
    return tuple(int(part) for part in parts if part.isdigit())


def of_device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding(f"GPU: {torch.cuda.get_device_name()}, {device_memory() / GIB:.0f} GiB")
    if torch.version.cuda is None:
        return Finding(
            "GPU: none that this torch can use, built for the CPU; only the tiny configs are quick there",
            "on a machine with a GPU: install the CUDA build of torch",
        )
    return Finding(
        "GPU: torch finds none, and computes on the CPU, on which only the tiny configs are quick",
        "nvidia-smi shows what the driver sees; unset CUDA_VISIBLE_DEVICES",
    )


def of_settings(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """What one experiment needs beside what all need."""
    system = settings.get("system", {})
    if "vsd" in str(system.get("guidance_type")):
        yield of_package(PEFT)
    if "nerf" in str(system.get("renderer_type")):
        yield of_package(NERFACC)
    for block, text in (("guidance", False), ("prompt_processor", True)):
        part = system.get(block, {})
        model = part.get("pretrained_model_name_or_path")
        if model:
            half = not text and _is_half(part.get("dtype", "auto"))
            yield from of_model(f"system.{block}", model, part.get("revision"), text, half)


def _is_half(dtype: str) -> bool:
    import torch
    from threestudio_msd.priors.loading import is_half

    return is_half(dtype, "cuda" if torch.cuda.is_available() else "cpu")


def of_model(
    block: str, model: str, revision: str | None, text: bool, half: bool = False
) -> Iterator[Finding]:
    """Whether a model can be had, is whole, is of a known family and fits into memory."""
    from threestudio_msd.priors.folder import open_model

    key = f"{block}.pretrained_model_name_or_path"
    try:
        found = open_model(model, revision, text, half)
        found.family.diffusers(found.family.backbone[1])
    except UserError as error:
        yield Finding(f"{key}={error}", f"hf download {model}, or {key}=FOLDER", stops=True)
        return
    parts = "text encoders" if text else "network and autoencoder"
    here = "here" if found.is_here else "to be downloaded"
    variants = {f" ({variant})" for _, variant in found.weights.values() if variant}
    yield Finding(f"{key}={model}: {found.family.name}, {parts}{''.join(sorted(variants))}, {here}")
    if found.needs_sentencepiece:
        yield from map(of_package, T5_PACKAGES)
    if found.bytes is not None:
        yield of_memory(block, found.bytes)


def of_memory(block: str, weights: int) -> Finding:
    """Whether weights fit; what a step needs beside them depends on the batch."""
    there = device_memory()
    said = f"{block}: {weights / GIB:.2f} GiB of weights on disk, {there / GIB:.1f} GiB of memory"
    if weights > WEIGHTS_SHARE * there:
        mend = "a smaller model" if block.endswith("prompt_processor") else f"{block}.dtype=float16"
        return Finding(said, f"{mend}, or a machine with more", stops=weights > 2 * there)
    return Finding(said)


def report(config: str, overrides: list[str]) -> int:
    """Print what was found; returns 0 if the config will run here, 2 if something stops it."""
    stops = False
    for finding in examine(config, overrides):
        print(finding, flush=True)
        stops |= finding.stops
    print(f"{config} {'does not run here yet: mend what says [stop]' if stops else 'will run here'}")
    return 2 if stops else 0
