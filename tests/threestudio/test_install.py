"""The ways in which users install an extension, loaded as threestudio's launch.py loads what lies in
`custom/`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import threestudio
import threestudio_msd
from forks import OURS, forked
from threestudio_msd.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "custom" / "threestudio_msd"


def load(entry: str, *paths: str) -> None:
    """Print what an entry of custom/ registers: in a child, since a name can be registered once only."""
    outside = [path for path in sys.path if not Path(path).resolve().is_relative_to(REPOSITORY)]
    sys.path = [*paths, str(REPOSITORY / "portable"), *outside]
    host = importlib.import_module("threestudio")
    file = entry if os.path.isfile(entry) else os.path.join(entry, "__init__.py")
    spec = importlib.util.spec_from_file_location(os.path.basename(entry), file)
    module = sys.modules[os.path.basename(entry)] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps([name for name in host.__modules__ if "msd" in name]))


def clone(custom: Path) -> list[Path]:
    """cd custom && git clone .../threestudio-msd: files and folders of the repository's root."""
    folder = custom / "threestudio-msd"
    folder.mkdir()
    for name in ("__init__.py", "custom", "configs"):
        (folder / name).symlink_to(REPOSITORY / name)
    return [folder]


def link(custom: Path) -> list[Path]:
    (custom / "threestudio_msd").symlink_to(PACKAGE)
    return [custom / "threestudio_msd"]


def copy(custom: Path) -> list[Path]:
    shutil.copytree(PACKAGE, custom / "threestudio_msd", ignore=shutil.ignore_patterns("__pycache__"))
    return [custom / "threestudio_msd"]


def pip(custom: Path) -> list[Path]:
    """pip install, and one line in custom/ that imports it."""
    source, site = custom.parent / "source", custom.parent / "site"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "custom", source / "custom", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=300)
    (custom / "msd.py").write_text("import threestudio_msd\n")
    return [custom / "msd.py", site]


@pytest.mark.parametrize("install", [clone, link, copy, pip])
def test_every_way_to_install_registers_the_same_modules(install, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom").mkdir()
    entry, *paths = map(str, install(tmp_path / "custom"))
    status, output = forked(lambda: load(entry, *paths), forgotten=OURS)
    assert status == 0, output
    assert sorted(json.loads(output)) == own_modules()


STAND_INS = {"mesh-exporter"}  # threestudio's name, on a host that has none


def own_modules() -> list[str]:
    """What this package registers."""
    return sorted(
        name
        for name, cls in threestudio.__modules__.items()
        if cls.__module__.split(".")[0] == "threestudio_msd" and name not in STAND_INS
    )


def test_names_have_a_prefix_so_that_no_other_extension_collides():
    assert {name for name in own_modules() if not name.startswith("msd-")} == set()


def test_the_catalogues_entry_has_its_fields_and_every_module():
    entry = json.loads((REPOSITORY / "docs" / "extension-entry.json").read_text())
    (node,) = entry["custom_nodes"]
    assert set(node) == {"author", "title", "reference", "files", "install_type", "description"}
    assert node["install_type"] == "git-clone"
    assert all(isinstance(value, str) and value for key, value in node.items() if key != "files")
    (address,) = node["files"]  # the catalogue's title is the last part of what it clones
    assert address.rpartition("/")[2] == node["title"]
    assert ("OWNER" in address) == ("OWNER" in node["description"])  # a placeholder says that it is one
    assert entry["modules_map"] == {node["files"][0]: [own_modules()]}


@pytest.mark.parametrize("version", ["0.2.2", "0.1", "0.0.1-beta"])
def test_a_threestudio_that_is_too_old_is_refused(version):
    host = ModuleType("threestudio")
    host.__version__ = version
    with pytest.raises(
        UserError, match=rf"needs threestudio 0\.2\.3 or newer, this one is {version}: git pull"
    ):
        threestudio_msd.require_version(host)


@pytest.mark.parametrize("version", ["0.2.3", "0.3", "1.0.0"])
def test_a_newer_one_is_taken(version):
    host = ModuleType("threestudio")
    host.__version__ = version
    threestudio_msd.require_version(host)
