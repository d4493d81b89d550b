import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "toy.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=300)


def test_an_unknown_command_is_refused_with_the_choices(load_script, capsys):
    with pytest.raises(SystemExit) as stop:
        load_script("toy").main(["tabel1"])
    assert stop.value.code == 2
    assert "table1" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_quick_makes_a_page(tmp_path):
    result = run("all", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "toy.json"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "toy.html").read_text().count("data:image/") >= 7
