"""Which threestudio runs, a real one if there is any, else the portable one; and its extensions."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from jaxtyping import install_import_hook
from threestudio_msd.errors import NonFiniteError, UserError, first_line, of_file

ROOT = Path(__file__).resolve().parent.parent
PORTABLE = (ROOT / "portable").resolve()
CHECKED = ("threestudio", *(f"threestudio_msd.{part}" for part in ("distillation", "priors", "guidance")))
"""What `--typecheck` checks: the host, and the extension's mathematics and what stands between the two."""


def find_host() -> str:
    """Put a threestudio on the import path and say which, without importing it.

    A checkout named by THREESTUDIO_ROOT comes first, then an installed package, then `portable/`. That folder
    goes to the end of the path, so that what is really installed (tinycudann, say) wins over its stand-in;
    beside a real threestudio it is not used at all.

    Raises:
        UserError: THREESTUDIO_ROOT names no checkout; or the working folder is gone.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the working folder was removed: start in one that is there") from error
    checkout = os.environ.get("THREESTUDIO_ROOT")
    if checkout:
        if not os.path.isfile(os.path.join(checkout, "threestudio", "__init__.py")):
            raise UserError(
                f"THREESTUDIO_ROOT: {checkout} is not a threestudio checkout (no threestudio/__init__.py)"
            )
        sys.path.insert(0, os.path.abspath(checkout))
    elif importlib.util.find_spec("threestudio") is None:
        sys.path.append(str(PORTABLE))
    spec = importlib.util.find_spec("threestudio")
    folder = Path(spec.origin).resolve().parent
    name = "portable threestudio" if folder.parent == PORTABLE else "threestudio"
    return f"{name} ({os.path.relpath(folder) if folder.is_relative_to(here) else folder})"


def import_host(described: str) -> ModuleType:
    """Import the threestudio that `find_host` found.

    Raises:
        UserError: It cannot be imported; the message names the missing package.
    """
    try:
        return importlib.import_module("threestudio")
    except ImportError as error:
        missing = f"the package '{error.name}' is missing or broken" if error.name else "a package is broken"
        advice = "install it, or unset THREESTUDIO_ROOT / uninstall threestudio to run on the portable host"
        raise UserError(f"{described} cannot be imported: {missing} ({error}); {advice}") from error


def check_types_of(package: str) -> None:
    """Have a package's annotated types and shapes checked, once it is imported.

    Raises:
        UserError: The type checker is not installed.
    """
    if importlib.util.find_spec("beartype") is None:  # typeguard 4 cannot read annotations of shapes
        raise UserError("--typecheck: the package 'beartype' is missing; pip install beartype")
    importlib.import_module("launcher.typecheck")  # the hook takes a name, and only looks it up
    install_import_hook(package, "launcher.typecheck.checked")


def import_extensions(folder: Path = ROOT / "custom") -> list[str]:
    """Import every extension: each folder or .py file of `custom/` whose name does not end in `_disabled`.

    One that cannot be imported is left out, with a warning that names the cause.

    Returns:
        The names of those that were imported.
    """
    if not folder.is_dir():
        return []
    entries = [entry for entry in sorted(folder.iterdir()) if _is_extension(entry)]
    for name in sys.stdlib_module_names.intersection(map(_module, entries)):
        importlib.import_module(name)  # Python's own, before an extension of this name is found first
    sys.path.insert(0, str(folder))
    return [_module(entry) for entry in entries if _imported(entry)]


def _module(entry: Path) -> str:
    return entry.name.removesuffix(".py")


def _imported(entry: Path) -> bool:
    try:
        extension = importlib.import_module(_module(entry))
        place = str(getattr(extension, "__file__", "Python itself"))
        if not os.path.realpath(place).startswith(os.path.realpath(entry)):
            raise ImportError(f"{place} has this name too; rename the extension")
        getattr(extension, "register", lambda: None)()  # one that was imported before the host
    except (Exception, SystemExit) as error:  # an extension may do anything
        cause = f"{type(error).__name__}: {first_line(error)}"
        importlib.import_module("threestudio").warn(
            f"the extension {entry.parent.name}/{_module(entry)} is left out, as it cannot be imported: "
            + cause
        )
        return False
    return True


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """What the host and the disk raise although all settings are right, as a `UserError` of one line.

    Raises:
        UserError: A setting that only shows to be wrong when it is used, or a file that cannot be read or
            written.
        NonFiniteError: NaN or infinity.
    """
    from threestudio.utils import config

    refused = getattr(config, "ConfigError", ())  # the portable host's
    try:
        yield
    except (UserError, BrokenPipeError):
        raise
    except OSError as error:
        raise UserError(of_file(error)) from error
    except refused as error:
        raise UserError(first_line(error)) from error
    except FloatingPointError as error:
        raise NonFiniteError(first_line(error)) from error


def _is_extension(entry: Path) -> bool:
    if entry.name.startswith((".", "__")) or entry.stem.endswith("_disabled"):
        return False
    return entry.suffix == ".py" or (entry / "__init__.py").is_file()
