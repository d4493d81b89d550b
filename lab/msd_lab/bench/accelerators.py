"""The configs on a GPU: memory, steps a second, share of the GPU's peak; the table of docs/gpu.md."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from ..markdown import markdown_table
from .random_pipelines import save_random_pipeline
from .steps import StepCosts, measure_steps

GIB = 2**30
LIKE: Mapping[str, str] = {
    "msd-sd": "sd21",
    "sds-sd": "sd21",
    "sdi-sd": "sd21",
    "vsd-sd": "sd21",
    "msd-nerf-sd": "sd21",
    "msd-hashgrid-sd": "sd21",
    "msd-sdxl": "sdxl",
    "msd-sd3": "sd3",
    "msd-if": "if",
    "msd-flux": "flux",
}
"""The configs that the table has, and the pipeline that stands in for their model."""
ONE_LAYER = {
    **{f"text_encoder{suffix}": {"num_hidden_layers": 1} for suffix in ("", "_2")},
    "text_encoder_3": {"num_layers": 1},
}
"""The prompt is encoded once, before the first step: one layer of it will do."""
PEAKS: Mapping[str, float] = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,
    "T4": 65e12,
}
"""FLOP a second in half precision, dense, as the maker states them, by a part of the GPU's name."""
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
HEADING = ("config", "memory (GiB)", "weights (GiB)", "steps/s", "TFLOP a step", "share of peak")


@dataclass(frozen=True)
class GPURow:
    """A config's line: its name, costs, and the part of the peak that its steps reach; None where unknown."""

    config: str
    costs: StepCosts | None
    share: float | None = None
    error: str = ""


def require_gpu() -> str:
    """The GPU's name.

    Raises:
        UserError: There is none.
    """
    if not torch.cuda.is_available():
        raise UserError(
            "--gpu: torch finds no GPU here, and docs/gpu.md is filled on one: run the same command there"
        )
    return torch.cuda.get_device_name()


def peak_of(name: str) -> float | None:
    """The peak of a GPU by its name, None where it is not known.

    >>> peak_of("NVIDIA A100-SXM4-80GB") / 1e12
    312.0
    """
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def stand_in(config: str, folder: Path) -> Path:
    """A pipeline with random weights of the size of a config's model; made once."""
    like = LIKE[config]
    if not (folder / like / "model_index.json").is_file():
        encoders = {"text_encoder_2": {"num_layers": 1}} if like == "flux" else {}
        encoders |= {"text_encoder": {"num_layers": 1}} if like == "if" else {}
        changes = {**ONE_LAYER, **encoders}
        save_random_pipeline(folder / like, like, "full", dtype=torch.float16, changes=changes)
    return folder / like


def measure_configs(configs: Mapping[str, DictConfig], steps: int, peak: float | None) -> Iterator[GPURow]:
    """The table's lines; a config that does not fit has its error in place of figures."""
    for name, config in configs.items():
        try:
            costs = measure_steps(config, steps)
            share = costs.flop / costs.seconds / peak if peak else None
            yield GPURow(name, costs, share)
        except (RuntimeError, ImportError, UserError) as error:  # out of memory, or a package is missing
            yield GPURow(name, None, error=type(error).__name__)
        gc.collect()
        torch.cuda.empty_cache()


def as_markdown(rows: Sequence[GPURow]) -> str:
    """The table."""
    return markdown_table(HEADING, [(row.config, *figures(row)) for row in rows]) + "\n"


def figures(row: GPURow) -> tuple[str, ...]:
    """What a line holds behind its name."""
    if row.costs is None:
        return (row.error, *["–"] * (len(HEADING) - 2))
    costs = row.costs
    numbers = (costs.bytes / GIB, costs.weights / GIB, 1 / costs.seconds, costs.flop / 1e12)
    share = "–" if row.share is None else f"{100 * row.share:.0f} %"
    return (*(f"{number:.2f}" for number in numbers), share)


def fill(page: Path, machine: str, rows: Sequence[GPURow]) -> None:
    """Put the table into a page, between its two marks.

    Raises:
        UserError: The page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{page}: has no place for the table, {BEGIN.strip()} ... {END}")
    save_text(f"{before}{begin}On {machine}:\n\n{as_markdown(rows)}{end}{after}", page)
