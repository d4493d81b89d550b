"""Open exported files in three.js (headless Chromium) and in Blender, and compare what
they show with the field: `make clients`.

Takes the scene of a run (RUN, or the newest of `make demo-3d`), exports it in every
format, has each client draw it from the front and from the right, and prints a table:
the intersection over union of the client's silhouette and the field's own, and how far
the client's colours are from those of the same texture drawn here, and from the
field's, where both cover the pixel (median, of 255). The Khronos validator reads the
GLB. Ends with 1 if a file is not upright (IoU .9) or not in its colours (3 of 255).
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from launcher.script import with_host  # noqa: E402

OUT, SIZE, FOVY, DISTANCE, ELEVATION = ROOT / "outputs" / "clients", 256, 50.0, 1.7, 15.0
VIEWS = {"front": 0.0, "right": 90.0}  # azimuths
FORMATS = {
    "glb": ("glb", {}),
    "glb, vertices": ("glb", {"save_uv": False}),
    "obj-mtl": ("obj-mtl", {}),
    "obj": ("obj", {}),
    "ply": ("ply", {}),
    "html": ("html", {}),
}
IN_BLENDER = {"y": lambda x, y, z: (y, -x, z), "z": lambda x, y, z: (x, y, z)}
IN_THREE = {"y": lambda x, y, z: (y, z, x), "z": lambda x, y, z: (x, y, z)}
VALIDATE = (
    "require(process.argv[1]).validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[2])))"
    ".then((report) => console.log(JSON.stringify(report.issues)))"
)
NEAR = 0.1  # how far behind the field's depth a point of the surface may be and is still seen
WRONG_BY_THE_READER = {("three.js", "ply")}  # keeps linear bytes


def main() -> int:
    """Open, compare, print."""
    from msd_lab.measure.trained_scene import TrainedScene
    from msd_lab.tinyworld.render import Cameras

    runs = [Path(name) for name in sys.argv[3:]] or sorted(
        Path("outputs/demo-3d").glob("*"), key=lambda path: path.stat().st_mtime
    )
    if not runs:
        print("make demo-3d makes the scene that this opens", file=sys.stderr)
        return 2
    scene = TrainedScene.load(runs[-1])
    count = len(VIEWS)
    cameras = Cameras(
        torch.full((count,), ELEVATION),
        torch.tensor(list(VIEWS.values())),
        torch.full((count,), DISTANCE),
        torch.full((count,), FOVY),
    )
    field = scene.views(cameras, SIZE, torch.zeros(3))
    field = replace(field, colour=field.colour / field.opacity[..., None].clamp(min=1e-3))  # no background
    files = {
        name: export(scene, *settings, OUT / name.replace(", ", "-")) for name, settings in FORMATS.items()
    }
    rows, good = [], True
    for client, draw in (("three.js", three), ("Blender", blender)):
        for (name, view), picture in draw(files, cameras).items():
            iou, here, there = compared(picture, files[name], cameras, list(VIEWS).index(view), field)
            rows.append((client, name, view, f"{iou:.3f}", f"{here:.1f}", f"{there:.1f}"))
            good &= iou > 0.9 and (here <= 3 or (client, name) in WRONG_BY_THE_READER)
    print(
        "\n| client | file | view | IoU with the field | colours, of 255 | from the field's |\n|" + "---|" * 6
    )
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    fog = averages(scene, files["glb"], cameras, field)
    print("averages of the field's renders in a texture's place: " + ", ".join(f"{far:.1f}" for far in fog))
    validator = Path(sys.argv[1]).resolve() / "gltf-validator"
    for name in ("glb", "glb, vertices"):
        issues = json.loads(subprocess.check_output(["node", "-e", VALIDATE, validator, files[name]]))
        print(f"glTF validator, {name}: {issues['numErrors']} errors, {issues['numWarnings']} warnings")
        good &= issues["numErrors"] == 0
    return int(not good)


def export(scene, fmt: str, settings: dict, folder: Path) -> Path:
    """Write the scene in a format; returns the file that is opened."""
    import threestudio

    parts = {name: getattr(scene.system, name) for name in ("geometry", "material", "background")}
    exporter = threestudio.find("msd-mesh-exporter")({"fmt": fmt, **settings}, **parts)
    folder.mkdir(parents=True, exist_ok=True)
    for output in exporter():
        (folder / output.save_name).write_bytes(Path(output.params["src_path"]).read_bytes())
    return (folder / f"model.{fmt.removesuffix('-mtl')}").resolve()


def averages(scene, file: Path, cameras, field) -> list[float]:
    """Measure a texture of averages of 24 renders of the field against its renders:
    what no texture can mend, as fog looks different from every side (median of 255, a view each).
    """
    from msd_lab.measure.meshes import PER_PIXEL, load_mesh, surface_samples, views_of
    from msd_lab.measure.views import project
    from msd_lab.tinyworld.render import Cameras

    points, _ = surface_samples(load_mesh(file), PER_PIXEL * SIZE**2)
    azimuth = torch.arange(24) * 15.0 + 7
    around = Cameras(
        torch.tensor([-10.0, 15.0, 40.0]).repeat(8),
        azimuth,
        torch.full((24,), DISTANCE),
        torch.full((24,), FOVY),
    )
    seen = scene.views(around, SIZE // 2, torch.zeros(3))
    colours = seen.colour / seen.opacity[..., None].clamp(min=1e-3)
    total, weight = torch.zeros(len(points), 3), torch.zeros(len(points), 1)
    for i in range(len(around)):
        pixel = (project(around[[i]], points[None])[0][0] * (SIZE // 2)).long().clamp(0, SIZE // 2 - 1)
        at = pixel[:, 1], pixel[:, 0]
        distance = (points - around.position[i]).norm(dim=-1)
        visible = (distance < seen.depth[i][at] + NEAR) & seen.silhouette[i][at]
        total, weight = total + visible[:, None] * colours[i][at], weight + visible[:, None]
    drawn = views_of(points, total / weight.clamp(min=1), cameras, SIZE, torch.ones(3))
    covered = views_of(points, torch.zeros_like(points), cameras, SIZE, torch.ones(3)).amax(-1) < 0.5
    apart = 255 * (drawn - field.colour).abs().amax(-1)
    return [float(far[both].median()) for far, both in zip(apart, covered & field.silhouette, strict=True)]


def jobs(files: dict[str, Path], cameras, axes, client: str) -> dict[tuple[str, str], dict]:
    """What a client is asked to draw, by file and view."""
    found = {}
    for name, file in files.items():
        for i, view in enumerate(VIEWS):
            up = "z" if file.suffix == ".ply" else "y"
            found[name, view] = {
                "file": str(file),
                "kind": FORMATS[name][0],
                "position": axes[up](*cameras.position[i].tolist()),
                "fovy": FOVY,
                "size": SIZE,
                "picture": str(OUT / f"{client} {name} {view}.png"),
            }
    return found


def drawn(command: list[str], asked: dict[tuple[str, str], dict]) -> dict[tuple[str, str], Path]:
    """Have a client draw what is asked; returns the pictures."""
    request = OUT / "request.json"
    request.write_text(json.dumps(list(asked.values())), encoding="utf-8")
    done = subprocess.run([*command, str(request)], check=True, capture_output=True, text=True)
    print((done.stdout if command[0] == "node" else done.stderr).strip().splitlines()[-1])
    return {key: Path(job["picture"]) for key, job in asked.items()}


def three(files: dict[str, Path], cameras) -> dict[tuple[str, str], Path]:
    """Draw with three.js, and the pages with themselves."""
    # its camera's up is y, and a PLY is z up: the camera is turned, not the file
    asked = jobs(files, cameras, {"y": IN_THREE["y"], "z": IN_THREE["z"]}, "three.js")
    for job in asked.values():
        job["up"] = [0, 0, 1] if job["kind"] == "ply" else [0, 1, 0]
    return drawn(["node", str(Path(__file__).with_name("three.mjs")), sys.argv[1]], asked)


def blender(files: dict[str, Path], cameras) -> dict[tuple[str, str], Path]:
    """Draw with Blender, all but the page."""
    opened = {name: file for name, file in files.items() if name != "html"}
    asked = jobs(opened, cameras, IN_BLENDER, "Blender")
    return drawn([sys.argv[2], str(Path(__file__).with_name("blender.py"))], asked)


@functools.cache
def drawn_here(file: Path, cameras) -> np.ndarray:
    """What the file's texture or colours look like to the cameras."""
    from msd_lab.measure.meshes import PER_PIXEL, load_mesh, surface_samples, views_of

    mesh = load_mesh(OUT / "glb" / "model.glb" if file.suffix == ".html" else file)
    return views_of(*surface_samples(mesh, PER_PIXEL * SIZE**2), cameras, SIZE, torch.ones(3)).numpy()


def compared(picture: Path, file: Path, cameras, i: int, field) -> tuple[float, float, float]:
    """The IoU with the field's silhouette, and the median distances of colours from the
    file drawn here and from the field.
    """
    seen = np.asarray(Image.open(picture).convert("RGBA")) / 255
    covered, silhouette = seen[..., 3] > 0.5, field.silhouette[i].numpy()
    both = covered & silhouette
    here, there = (
        255 * np.abs(seen[..., :3] - other[i])[both].max(-1)
        for other in (drawn_here(file, cameras), field.colour.numpy())
    )
    return float(both.sum() / (covered | silhouette).sum()), float(np.median(here)), float(np.median(there))


if __name__ == "__main__":
    sys.exit(with_host(main))
