"""A process that has imported what every run imports, and forks for each: most of a short run is its imports.

Reads lines of JSON, `{"script", "arguments", "folder", "log"}`, and answers each with the exit status.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import sys
import traceback

LIBRARIES = (
    *("torch", "pytorch_lightning", "transformers.models.clip.modeling_clip", "torchmetrics", "kornia"),
    *("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "cv2", "trimesh", "scipy.stats"),
    *("torch.utils.tensorboard", "matplotlib.pyplot", "imageio", "transformers.models.auto", "torch._dynamo"),
)


def run(script: str, arguments: list[str], folder: str, log: str) -> int:
    """Run a script as `python script arguments` does, in a process of its own; its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Import, then serve until the input ends."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        print(run(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
