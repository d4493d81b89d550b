"""What finished runs are worth: images read back, features, metrics, grids of runs, and the report.

Needs no threestudio, except to read the frames of a run's path.
"""

from .features import FEATURES, FeatureError, Features
from .images import ImageRecord, Run, read_images, read_records, read_runs, write_samples
from .metrics import (
    Spread,
    diversity,
    frechet_distance,
    kernel_distance,
    precision_recall,
    saturation,
    sharpness,
)

__all__ = [
    "FEATURES",
    "FeatureError",
    "Features",
    "ImageRecord",
    "Run",
    "Spread",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "precision_recall",
    "read_images",
    "read_records",
    "read_runs",
    "saturation",
    "sharpness",
    "write_samples",
]
