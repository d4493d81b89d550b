"""A hub in this process, and the fixtures of tests that ask it."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

COMMIT = "c" * 40
REFUSALS = {
    "gone": (404, "RepoNotFound", r"no such model: check the id.*hf auth login"),
    "gated": (403, "GatedRepo", r"is gated: accept its licence at http.*/me/gated and.*hf auth login"),
    "listed": (401, "GatedRepo", r"is gated: accept its licence at http.*/me/listed and.*hf auth login"),
    "expired": (401, None, r"refuses this machine's token: log in again with `hf auth login`"),
    "forbidden": (403, None, r"the hub forbids the download: Enable access"),
    "revision": (404, "RevisionNotFound", "no such revision"),
    "down": (500, None, "the hub cannot be reached.*me/down"),
}


SAID = {
    "expired": "Invalid credentials in Authorization header",
    "forbidden": "Enable access to gated repositories in your token's settings",
}
LISTED = ("listed", "forbidden")
"""Models whose files the hub lists, and does not give."""


class Hub(BaseHTTPRequestHandler):
    """Of the hub, what loading needs: one model `me/tiny`, and some that are refused."""

    folder: Path
    served: list[str]
    sizes = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = path.removeprefix("/api/models").split("/")[2]
        if name in REFUSALS and not (name in LISTED and path.startswith("/api/")):
            status, code, _ = REFUSALS[name]
            headers = {"X-Error-Code": code, "X-Error-Message": SAID.get(name)}
            self.answer(status, b"", {key: value for key, value in headers.items() if value})
        elif "/tree/" in path:
            entries = [{"type": "file", "path": file, "oid": "0", "size": 1000} for file in self.files()]
            self.answer(200, json.dumps(entries).encode())
        elif path.startswith("/api/models/"):
            size = {"size": 1000} if self.sizes and "blobs" in self.path else {}
            files = [{"rfilename": file, **size} for file in self.files()]
            self.answer(200, json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": files}).encode())
        elif "/resolve/" in path:
            file = path.partition("/resolve/")[2].split("/", 1)[1]
            self.served.append(file)
            self.answer(
                200, (self.folder / file).read_bytes(), {"ETag": f'"{file}"', "X-Repo-Commit": COMMIT}
            )
        else:
            self.answer(404, b"")

    def files(self) -> list[str]:
        return [file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*.*")]

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def online(monkeypatch, tmp_path):
    """An empty cache, and a setter of the hub's address."""

    def connect(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        for module in (constants, file_download):  # the older ones have a copy
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return connect


@pytest.fixture
def hub(online, tmp_path, random_pipeline):
    handler = type("TinyHub", (Hub,), {"folder": tmp_path / "tiny", "served": []})
    shutil.copytree(random_pipeline, handler.folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    online(f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
