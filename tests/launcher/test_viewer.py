"""The live page, with a fake browser; `pages` of viser are only opened where it is installed."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
import socket
import subprocess
import time
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import threestudio
import torch
from PIL import Image
from threestudio_msd.errors import UserError

import launch
from launcher.checks.config import check_action
from launcher.viewer import Look, Viewer, ViserPage, batch_of, camera_to_world, picture, start_of

FRONT = Look((0.5, -0.5, -0.5, 0.5), (2.0, 0.0, 0.0), math.radians(50), 1.5)  # at +x, looks at the origin


class FakePage:
    """A page without a browser: what it was told and shown is kept."""

    def __init__(self, start=None, can_hold=True):
        self.paused, self.shown, self.height, self.held = False, "colour", 16, None
        self.clients, self.pictures, self.told, self.closed = {7: FRONT}, [], [], False

    def looks(self):
        return self.clients

    def show(self, client, picture):
        self.pictures.append((client, picture))
        self.paused = False

    def tell(self, figures):
        self.told.append(figures)

    def close(self):
        self.closed = True


class Guidance:
    """Notes the bandwidths it is to hold."""

    def __init__(self):
        self.held = []

    def hold_bandwidth(self, value):
        self.held.append(value)


@pytest.fixture
def system():
    """A ball of radius .3 in a box, as a system that renders from rays."""
    torch.manual_seed(0)
    geometry = threestudio.find("msd-multiscale-grid")({"sizes": [24], "init_scale": 0.0})
    material = threestudio.find("no-material")({})
    background = threestudio.find("solid-color-background")({"color": [1.0, 0.0, 0.0]})
    renderer = threestudio.find("nerf-volume-renderer")(
        {"radius": 0.68, "num_samples_per_ray": 64, "grid_prune": False},
        geometry=geometry,
        material=material,
        background=background,
    )

    class System:
        def __init__(self):
            self.geometry, self.material, self.background, self.renderer = (
                geometry,
                material,
                background,
                renderer.train(),
            )
            self.guidance = Guidance()

        def __call__(self, batch):
            return self.renderer(**batch)

    return System()


@pytest.fixture
def trainer():
    metrics = {"train/loss": torch.tensor(2.0), "train/bandwidth": torch.tensor(8.0)}
    data = SimpleNamespace(cfg=SimpleNamespace(eval_camera_distance=2.0, eval_elevation_deg=0.0))
    return SimpleNamespace(is_global_zero=True, global_step=3, callback_metrics=metrics, datamodule=data)


def test_a_browser_sees_what_threestudios_cameras_see():
    view = threestudio.find("random-camera-datamodule")(
        {"eval_camera_distance": 2.0, "eval_elevation_deg": 0.0, "eval_fovy_deg": 50.0, "eval_height": 8}
        | {"eval_width": 12, "n_test_views": 2}
    )
    view.setup("test")
    truth = view.test_dataset.views
    batch = batch_of(FRONT, 8, "cpu")
    for name in ("c2w", "rays_o", "rays_d", "mvp_mtx", "camera_positions", "elevation", "azimuth", "fovy"):
        assert torch.allclose(batch[name][0], truth[name][0], atol=1e-5), name
    assert torch.allclose(camera_to_world(FRONT)[:3, 3], torch.tensor([2.0, 0, 0]))


def test_pictures_of_every_kind(system):
    shown = {kind: picture(system, FRONT, kind, 48) for kind in ("colour", "normal", "opacity", "depth")}
    assert all(image.shape == (48, 72, 3) and image.dtype == np.uint8 for image in shown.values())
    shown = {kind: image.astype(int) for kind, image in shown.items()}
    assert shown["colour"][0, 0].tolist() == [255, 0, 0]
    assert shown["opacity"][24, 36, 0] > 250
    assert shown["opacity"][0, 0, 0] == 0
    red, green, blue = shown["normal"][24, 36]  # towards the camera, +x
    assert red > 230
    assert max(abs(green - 128), abs(blue - 128)) < 40
    assert shown["normal"][24, 40, 1] > 150 > 106 > shown["normal"][24, 32, 1]  # +y is to the right
    assert shown["normal"][20, 36, 2] > 150 > 106 > shown["normal"][28, 36, 2]  # +z is up
    assert shown["depth"][24, 36].sum() > 0
    assert shown["depth"][0, 0].tolist() == [0, 0, 0]
    assert system.renderer.training


def test_the_page_follows_training(system, trainer):
    page = FakePage()
    viewer = Viewer(lambda start, can_hold: page)
    viewer.on_train_start(trainer, system)
    viewer.on_train_batch_end(trainer, system)
    assert page.told == [{"step": 3, "loss": 2.0, "bandwidth": 8.0}]
    assert [client for client, _ in page.pictures] == [7]
    viewer.on_train_batch_end(trainer, system)
    assert len(page.pictures) == 1  # nothing has changed
    viewer._free_from = 0.0
    trainer.global_step = 4
    viewer.on_train_batch_end(trainer, system)
    assert len(page.pictures) == 2
    viewer.on_train_end(trainer, system)
    assert page.closed


def test_pictures_take_a_part_of_the_time_only(system, trainer):
    page = FakePage()
    viewer = Viewer(lambda *_: page)
    viewer.on_train_start(trainer, system)
    for step in range(5):
        trainer.global_step = step
        viewer.on_train_batch_end(trainer, system)
    assert len(page.pictures) == 1


def test_a_pause_still_draws_and_a_signal_ends_it(system, trainer):
    page = FakePage()
    viewer = Viewer(lambda *_: page)
    viewer.on_train_start(trainer, system)
    page.paused = True  # the fake page goes on after a picture
    viewer.on_train_batch_end(trainer, system)
    assert len(page.pictures) == 1
    page.clients, page.paused = {}, True
    asked = Viewer(lambda *_: page, stopping=lambda: True)
    asked.on_train_start(trainer, system)
    asked.on_train_batch_end(trainer, system)


def test_the_slider_holds_the_bandwidth_and_lets_it_go(system, trainer):
    page = FakePage()
    viewer = Viewer(lambda *_: page)
    viewer.on_train_start(trainer, system)
    for held in (None, 2.0, 2.0, None):
        page.held = held
        viewer.on_train_batch_end(trainer, system)
    assert system.guidance.held == [2.0, None]


def test_a_system_without_rays_is_one_line(trainer):
    with pytest.raises(UserError, match="no scene that is rendered from rays"):
        Viewer(lambda *_: FakePage()).on_train_start(trainer, object())


def test_a_browser_begins_where_the_turntable_does(trainer):
    assert start_of(trainer.datamodule) == (2.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (["--viewer", "a.b=1"], 8080),
        (["--viewer", "9001", "a.b=1"], 9001),
        (["--viewer"], 8080),
        ([], None),
    ],
)
def test_the_port_may_be_left_out(words, port):
    args, overrides = launch.parse_args(["--config", "x.yaml", "--train", *words])
    assert args.viewer == port
    assert overrides == [word for word in words if "=" in word]


@pytest.mark.parametrize("port", ["0", "70000", "-1", "8080.5", "http"])
def test_a_port_that_is_none_is_named(port, capsys):
    with pytest.raises(SystemExit) as caught:
        launch.parse_args(["--config", "x.yaml", "--train", "--viewer", port, "a=1"])
    assert caught.value.code == 2
    assert f"--viewer: expected a port from 1 to 65535, got {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("system", "told"),
    [("msd-image-system", "has no scene that rays render"), ("dreamfusion-system", "--viewer needs viser: ")],
)
def test_a_viewer_without_a_scene_or_its_package_is_told_before_a_run(system, told, monkeypatch):
    monkeypatch.setattr("launcher.checks.config.is_importable", lambda module: False)
    action = SimpleNamespace(export=False, validate=False, test=False, viewer=8080)
    with pytest.raises(UserError, match=told):
        check_action(action, {"system_type": system}, threestudio)


def test_it_is_refused_without_training(capsys):
    with pytest.raises(SystemExit):
        launch.parse_args(["--config", "x.yaml", "--test", "--viewer"])
    assert "it needs --train" in capsys.readouterr().err


def test_a_real_page_serves_this_machine_only():
    pytest.importorskip("viser")
    page = ViserPage(18123, (1.0, 0.0, 0.0), can_hold=True)
    try:
        assert page._server.get_host() == "127.0.0.1"
        assert (page.paused, page.shown, page.held, page.looks()) == (False, "colour", None, {})
        page.tell({"step": 1, "bandwidth": 40.0})
        page.show(0, np.zeros((4, 4, 3), np.uint8))  # nobody is there
    finally:
        page.close()


def test_a_port_that_is_taken_is_left_to_the_other_program():
    pytest.importorskip("viser")
    with socket.create_server(("127.0.0.1", 0)) as other:
        page = ViserPage(other.getsockname()[1], (1.0, 0.0, 0.0), can_hold=False)
        try:
            assert page._server.get_port() != other.getsockname()[1]
        finally:
            page.close()


def test_without_viser_it_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[viewer\]'"):
        ViserPage(18124, (1.0, 0.0, 0.0), can_hold=False)


CLICK_PAUSE = """
const centre = (one) => { const box = one.getBoundingClientRect(); return box.top + box.height / 2; };
const texts = [...document.querySelectorAll("*")].filter((one) => !one.children.length);
const label = texts.find((one) => one.innerText === "pause");
const far = (one) => Math.abs(centre(one) - centre(label));
[...document.querySelectorAll("input[type=checkbox]")].sort((a, b) => far(a) - far(b))[0].click();
"""


class Browser:
    """A headless Chromium on a page, spoken to by its debugging protocol."""

    def __init__(self, program, folder, url):
        from websockets.sync.client import connect

        command = [program, "--headless=new", "--no-sandbox", "--use-angle=swiftshader"]
        command += ["--enable-unsafe-swiftshader", "--remote-debugging-port=0", "--window-size=800,480"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, f"--user-data-dir={folder}", url], **quiet)
        port_file = folder / "DevToolsActivePort"
        until(port_file.is_file)
        port = port_file.read_text().splitlines()[0]

        def pages():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                return [one for one in json.load(answer) if one["type"] == "page"]

        until(pages)
        self.socket, self.calls = connect(pages()[0]["webSocketDebuggerUrl"], max_size=None, origin=None), 0

    def call(self, method, **params):
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.calls:
                return answer["result"]

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def picture(self):
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)


def until(condition, seconds=90):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_browser_shows_the_scene_and_pauses_it(system, trainer, tmp_path):
    pytest.importorskip("viser")
    program = shutil.which("chromium") or shutil.which("google-chrome") or pytest.skip("no Chromium")
    page = ViserPage(18130, (2.0, 0.0, 0.0), can_hold=True)
    viewer = Viewer(lambda *_: page)
    viewer.on_train_start(trainer, system)
    browser = Browser(program, tmp_path, f"http://127.0.0.1:{page._server.get_port()}")

    def step():
        viewer._free_from = 0.0
        trainer.global_step += 1
        viewer.on_train_batch_end(trainer, system)
        return browser.picture()

    def shown():
        """The red background in the lower left corner, and the ball in the middle of what is free."""
        picture = step()
        return abs(picture[-20, 20] - [255, 0, 0]).max() < 40

    try:
        until(page.looks)
        until(shown)
        picture = step()
        red = (abs(picture - [255, 0, 0]).max(-1) < 40).mean()
        assert 0.3 < red < 0.98  # the rest is the ball and the panel
        assert "step: " in browser.run("document.body.innerText")
        assert "hold bandwidth" in browser.run("document.body.innerText")
        (look,) = page.looks().values()
        assert look.position == pytest.approx((2, 0, 0), abs=1e-3)
        browser.run(CLICK_PAUSE)
        until(lambda: page.paused)
    finally:
        Image.fromarray(browser.picture().astype(np.uint8)).save(tmp_path / "page.png")
        browser.close()
        page.close()
