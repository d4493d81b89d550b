"""The configs on a GPU: memory, steps a second, share of the GPU's peak; the table of
docs/gpu.md.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from threestudio_msd.errors import UserError
from threestudio_msd.files import save_text

from launcher.config import read

from ..report.table import UNKNOWN, Table
from .estimate import stated
from .random_pipelines import save_random_pipeline
from .steps import CONFIGS, measure_steps

GIB = 2**30
# The configs that the table has, and the pipeline that stands in for their model
LIKE: Mapping[str, str] = {
    **dict.fromkeys(("msd-sd", "sds-sd", "sdi-sd", "vsd-sd", "msd-nerf-sd", "msd-hashgrid-sd"), "sd21"),
    **{"msd-sdxl": "sdxl", "msd-sd3": "sd3", "msd-if": "if", "msd-flux": "flux"},
}
LAYERS = {
    "text_encoder": "num_hidden_layers",
    "text_encoder_2": "num_hidden_layers",
    "text_encoder_3": "num_layers",
}
# Which text encoder of a pipeline is a T5, whose setting is `num_layers`
T5 = {"flux": "text_encoder_2", "if": "text_encoder"}
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
HEADING = ("config", "memory (GiB)", "weights (GiB)", "steps/s", "TFLOP a step", "share of peak")


def require_gpu(option: str = "--gpu") -> str:
    """The GPU's name; `option` is what asks for it.

    Raises:
        UserError: There is none.
    """
    if not torch.cuda.is_available():
        raise UserError(
            f"{option}: torch finds no GPU here, and docs/gpu.md is filled on one: run the same command there"
        )
    return torch.cuda.get_device_name()


def peak_of(name: str) -> float | None:
    """The peak of a GPU by its name, None where it is not known.

    >>> peak_of("NVIDIA A100-SXM4-80GB") / 1e12
    312.0
    """
    known = stated(name)
    return 1e12 * known.half if known else None


def stand_in(config: str, folder: Path) -> Path:
    """A pipeline with random weights of the size of a config's model; made once.

    The prompt is encoded once, before the first step: its text encoders have one layer.
    """
    like = LIKE[config]
    if not (folder / like / "model_index.json").is_file():
        layers = LAYERS | ({T5[like]: "num_layers"} if like in T5 else {})
        changes = {encoder: {key: 1} for encoder, key in layers.items()}
        save_random_pipeline(folder / like, like, "full", dtype=torch.float16, changes=changes)
    return folder / like


def row(name: str, config: DictConfig, steps: int, peak: float | None) -> tuple[str, ...]:
    """Measure a config's line of the table; one that does not fit has its error in
    place of figures.
    """
    try:
        costs = measure_steps(config, steps)
    except (RuntimeError, ImportError, UserError) as error:  # out of memory, or a package is missing
        return (name, type(error).__name__, *[UNKNOWN] * (len(HEADING) - 2))
    share = f"{100 * costs.flop / costs.seconds / peak:.0f} %" if peak else UNKNOWN
    numbers = (costs.bytes / GIB, costs.weights / GIB, 1 / costs.seconds, costs.flop / 1e12)
    return (name, *(f"{number:.2f}" for number in numbers), share)


def fill(page: Path, machine: str, table: str) -> None:
    """Put a table into a page, between its two marks.

    Raises:
        UserError: The page has no marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{page}: has no place for the table, {BEGIN.strip()} ... {END}")
    save_text(f"{before}{begin}On {machine}:\n\n{table}\n{end}{after}", page)


def fill_page(page: Path, models: Path, configs: Sequence[str], steps: int) -> None:
    """Measure configs on this machine's GPU, print the table, and put it into a page.

    Raises:
        UserError: There is no GPU, or the page has no marks.
    """
    name, rows = require_gpu(), []
    for config in configs:
        model = f"system.prompt_processor.pretrained_model_name_or_path={stand_in(config, models)}"
        rows.append(row(config, read(str(CONFIGS / f"{config}.yaml"), [model]), steps, peak_of(name)))
        gc.collect()
        torch.cuda.empty_cache()
    table = Table(HEADING, rows).markdown()
    print(table)
    fill(page, f"{name}, torch {torch.__version__}", table)
