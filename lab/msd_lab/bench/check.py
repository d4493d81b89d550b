"""The first quarter of an hour on a GPU: what was only computed so far, measured, as a block for docs/gpu.md.

python scripts/check_gpu.py
python scripts/check_gpu.py --minutes 5
python scripts/check_gpu.py --rehearse    # the same parts on a CPU, on tiny models: only that they run

Stable Diffusion 2.1 has its published size and random weights, made here without a hub; the last part trains
on its own weights, where they are on this machine. The parts run in the order of their worth, until the time
is up. A part that fails says why in its row.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_blocks import UpBlock2D
from omegaconf import OmegaConf
from threestudio_msd.errors import UserError, first_line
from threestudio_msd.priors.family import Parts, family_of
from threestudio_msd.priors.folder import open_model
from threestudio_msd.priors.loading import PretrainedModel, assembled
from torch import Tensor

from launcher.config import read
from launcher.script import Parser, with_host

from ..report.table import Table
from .accelerators import require_gpu, stand_in
from .architectures import ARCHITECTURES
from .benchmark import seconds
from .estimate import GIB, Gpu, estimate, stated
from .meta_models import PROMPTS
from .random_pipelines import build, drawing, save_random_pipeline
from .shares import flop
from .steps import CONFIGS, measure_steps

Row = tuple[str, str, str]
HEADING = ("what", "measured", "computed, or stated by the maker")
CONFIGS_CHECKED = ("msd-sd", "sds-sd", "msd-nerf-sd")
PROMPTS_CHECKED = ("a DSLR photo of a tulip", "a DSLR photo of a hamburger")


@dataclass(frozen=True)
class Bench:
    """Where and how large.

    Attributes:
        device: Of the computations.
        size: `full`, or `tiny` for a rehearsal.
        models: Folder of random pipelines.
        gpu: What the maker states; None where the data file does not know the GPU.
    """

    device: str
    size: str
    models: Path
    gpu: Gpu | None

    @property
    def full(self) -> bool:
        return self.size == "full"

    def share(self, kind: str, tflop: float) -> str:
        """A rate as a part of the stated one."""
        peak = getattr(self.gpu, kind, None)
        return f"{tflop / peak:.2f} of {peak:g} TFLOP/s" if peak else "not stated"

    def model(self, like: str, dtype: torch.dtype) -> PretrainedModel:
        """A pipeline with random weights on the device."""
        made = ARCHITECTURES[like]
        family = family_of(made.pipeline)
        with drawing(0, dtype), torch.device(self.device):
            network, vae = (
                build(made.parts[part], made.parts[part].config(self.size)).requires_grad_(False).eval()
                for part in (family.backbone[0], "vae")
            )
        return assembled(family, Parts(network, build(made.parts["scheduler"]), vae), dtype)


def fastest(work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds, the least of several calls after a first one."""
    return min([seconds(work) for _ in range(rounds + 1)][1:])


def rates(bench: Bench) -> Iterator[Row]:
    """Products of matrices, copies, launches: what the maker's figures come to at best."""
    side = 8192 if bench.full else 64
    for kind, dtype, precision in (
        ("half", torch.float16, "high"),
        ("tf32", torch.float32, "high"),
        ("float32", torch.float32, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        a = torch.randn(side, side, device=bench.device, dtype=dtype)
        rate = 2 * side**3 / fastest(lambda a=a: a @ a) / 1e12
        yield f"product of matrices, {kind}", f"{rate:.3g} TFLOP/s", bench.share(kind, rate)
    torch.set_float32_matmul_precision("high")
    x = torch.zeros((GIB if bench.full else 2**20) // 4, device=bench.device)
    moved = 2 * x.nbytes / fastest(x.clone) / 1e12
    share = (
        f"{moved / bench.gpu.bandwidth:.2f} of {bench.gpu.bandwidth:g} TB/s" if bench.gpu else "not stated"
    )
    yield "copy", f"{moved:.3g} TB/s", share
    one = torch.zeros(1, device=bench.device)
    yield "launch", f"{1e3 * fastest(lambda: [one.add_(1) for _ in range(1000)]):.2g} us", "8 us an operation"


@dataclass(frozen=True)
class Calls:
    """The calls of a step on one model, with inputs."""

    model: PretrainedModel
    device: str

    def denoise(self, rows: int) -> Tensor:
        width = self.model.backbone.config.cross_attention_dim
        prompt = torch.zeros(rows, PROMPTS["sd21"][0], width, device=self.device)
        noise = torch.ones(rows, *self.model.latent_shape, device=self.device)
        with torch.no_grad():
            return self.model.denoiser(
                noise, torch.ones((), device=self.device), self.model.condition(prompt)
            )

    def images(self) -> Tensor:
        size = self.model.resolution
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return torch.rand(4, 3, size, size).to(self.device).requires_grad_()

    def encoder_gradient(self) -> Tensor:
        images = self.images()
        return torch.autograd.grad(self.model.encode(images).square().sum(), images)[0]

    def decode(self) -> Tensor:
        return self.model.decode(torch.ones(4, *self.model.latent_shape, device=self.device))


def parts(bench: Bench) -> Iterator[Row]:
    """Network and autoencoder of Stable Diffusion 2.1, in half precision and in float32."""
    gradients = {}
    for kind, dtype in (("half", torch.float16), ("tf32", torch.float32)):
        calls = Calls(bench.model("sd21", dtype), bench.device)
        gradients[kind] = calls.encoder_gradient()
        for name, work in (
            ("network, 8 rows", partial(calls.denoise, 8)),
            ("network, 2 rows", partial(calls.denoise, 2)),
            ("encoder and its gradient, 4 images", calls.encoder_gradient),
            ("decoder, 4 images", calls.decode),
        ):
            taken = fastest(work, 3)
            yield f"{name}, {kind}", f"{1e3 * taken:.3g} ms", bench.share(kind, flop(work) / taken / 1e12)
    off = relative(gradients["half"], gradients["tf32"])
    yield "encoder's gradient, half against float32", f"{off:.2g} off", "0.0005 on a CPU, trained weights"


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def compiled(bench: Bench) -> Iterator[Row]:
    """The gradient of a compiled block, which torch 2.13's inductor gets wrong on a CPU."""
    backend = "inductor" if bench.full else "aot_eager"
    channels = {"in_channels": 32, "prev_output_channel": 32, "out_channels": 32, "temb_channels": None}
    with drawing(0, torch.float32), torch.device(bench.device):
        up = UpBlock2D(**channels, num_layers=2)
        inputs = [torch.randn(1, 32, 8, 8).requires_grad_() for _ in range(3)]

    def gradient(call: Callable[..., Tensor]) -> Tensor:
        out = call(inputs[0], tuple(inputs[1:]))
        return torch.cat([g.flatten() for g in torch.autograd.grad(out.square().sum(), inputs)])

    off = relative(gradient(torch.compile(up, backend=backend)), gradient(up))
    yield f"gradient of an up block, {backend} against eager", f"{off:.2g} off", "1 with inductor on a CPU"


def steps(bench: Bench) -> Iterator[Row]:
    """Optimiser steps of configs as the trainer takes them, beside their estimates."""
    for name in CONFIGS_CHECKED:
        small = [] if bench.full else ["data.width=16", "data.height=16"]
        if bench.full:
            model = stand_in(name, bench.models)
        else:
            model = save_random_pipeline(bench.models / "tiny", "sd21")
        key = "system.prompt_processor.pretrained_model_name_or_path"
        count = 8 if bench.full else 1
        words = [f"{key}={model}", f"trainer.max_steps={3 * count}", *small]
        config = read(str(CONFIGS / f"{name}.yaml"), words)
        run = measure_steps(config, count)
        found = estimate(OmegaConf.to_container(config, resolve=True), half=bench.device != "cpu")
        expected = bench.gpu.seconds(found.work.operations) / found.steps if bench.gpu else float("nan")
        yield f"{name}, a step", f"{1e3 * run.seconds:.3g} ms", f"{1e3 * expected:.3g} ms"
        yield f"{name}, memory", f"{run.bytes / GIB:.2f} GiB", f"{found.work.peak / GIB:.2f} GiB"


def trained(bench: Bench) -> Iterator[Row]:
    """msd-sd on Stable Diffusion's own weights, two prompts; the pictures are to be looked at."""
    config = read(str(CONFIGS / "msd-sd.yaml"), [])
    name = config.system.guidance.pretrained_model_name_or_path
    if not bench.full or not open_model(name, half=True).is_here:
        raise UserError(f"the weights of {name} are not on this machine")
    from launch import main as launch

    for prompt in PROMPTS_CHECKED:
        start = time.monotonic()
        status = launch(
            ["--config", str(CONFIGS / "msd-sd.yaml"), "--train", f"system.prompt_processor.prompt={prompt}"]
        )
        yield f"msd-sd, {prompt!r}", f"{time.monotonic() - start:.0f} s, status {status}", "look at path.png"


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    one.__name__: one for one in (rates, parts, steps, compiled, trained)
}


def rows(bench: Bench, minutes: float) -> Iterator[Row]:
    """Measure part by part until the time is up."""
    end = time.monotonic() + 60 * minutes
    for name, part in PARTS.items():
        if time.monotonic() > end:
            yield name, "left out: the time is up", ""
            continue
        try:
            yield from part(bench)
        except UserError as error:
            yield name, f"left out: {error}", ""
        except Exception as error:  # the other parts' figures are worth having
            yield name, f"left out: {type(error).__name__}: {first_line(error)}", ""
        if bench.device == "cuda":
            torch.cuda.empty_cache()


def block(bench: Bench, minutes: float) -> str:
    """The block for docs/gpu.md."""
    start = time.monotonic()
    table = Table(HEADING, list(rows(bench, minutes))).markdown()
    if bench.device == "cuda":
        free = torch.cuda.mem_get_info()[1] / GIB
        where = f"{torch.cuda.get_device_name()} ({free:.1f} GiB), CUDA {torch.version.cuda}"
    else:
        where = "REHEARSAL on a CPU, tiny models: no figure means anything"
    taken = (time.monotonic() - start) / 60
    about = (
        f"torch {torch.__version__}, Python {platform.python_version()}, {date.today()}, {taken:.1f} minutes"
    )
    return f"### {where}\n\n`python scripts/check_gpu.py`, {about}\n\n{table}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="after which no further part begins")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, on tiny models")
    parser.add_argument(
        "--models", type=Path, default=Path("outputs/random"), help="where random pipelines lie"
    )
    args = parser.parse_args(argv)

    def work() -> int:
        if args.rehearse:
            with tempfile.TemporaryDirectory() as folder:
                print(block(Bench("cpu", "tiny", Path(folder), None), args.minutes))
        else:
            name = require_gpu("check_gpu")
            print(block(Bench("cuda", "full", args.models, stated(name)), args.minutes))
        return 0

    return with_host(work)


if __name__ == "__main__":
    sys.exit(main())
