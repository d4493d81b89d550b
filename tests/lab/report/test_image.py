"""The report: one page, its sheets and its tables."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from lab.fakes import BROKEN, GOOD
from msd_lab.compare.costs import Budget
from msd_lab.compare.results import Row
from msd_lab.report.image import frontier_svg, write_report
from msd_lab.report.table import Spread
from PIL import Image


def test_the_report_is_one_page_with_everything_in_it(comparison, measured, tmp_path):
    compared = comparison(budgets=[Budget("steps", 8), Budget("nfe", 48)], title="A <title>")
    page = write_report(compared, measured(compared)).read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page
    assert page.count("<svg") == 2
    # two budgets, two prompts: a path and a picture for either method, and a picture of DDIM
    assert page.count("data-path=") == 8
    assert page.count("data:image/png;base64,") >= 2 * 8 + 4
    # nothing is fetched from elsewhere
    assert not [part for part in page.split('src="')[1:] if not part.startswith("data:")]
    assert page.count("python launch.py --config good.yaml --train") == 2
    assert "GOOD reaches the best other method" in page
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "GOOD reaches the best other method" in tables
    assert "| GOOD | 8 | 32 | 0.000002 | " in tables
    assert "Against DDIM's images" in tables
    assert "| DDIM | – | – | – | – |" in tables
    sheets = [Image.open(tmp_path / f"sheet-{budget}.png") for budget in ("steps-8", "nfe-48")]
    assert sheets[0].size == sheets[1].size


def test_what_is_missing_is_told_and_the_rest_shown(comparison, measured):
    compared = comparison(GOOD, BROKEN, prompts=["a red mug"], seeds=1, particles=4)
    page = write_report(compared, measured(compared)).read_text(encoding="utf-8")
    assert "1 runs failed" in page
    assert "something went wrong" in page
    assert page.count("data-path=") == 1


@pytest.mark.parametrize(("particles", "seeds"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_a_report_is_made_of_few_images_without_nan_or_lone_deviations(
    comparison, measured, tmp_path, particles, seeds
):
    compared = comparison(GOOD, prompts=["a red mug"], seeds=seeds, particles=particles, frames=1)
    page = write_report(compared, measured(compared)).read_text(encoding="utf-8")
    tables = (tmp_path / "tables.md").read_text(encoding="utf-8")
    row = next(line for line in tables.splitlines() if line.startswith("| GOOD "))
    assert "nan" not in tables + page.partition("<h2>Commands")[0].partition("<body>")[2].lower()
    assert ("±" in row) == ("±" in page) == (seeds > 1)
    assert ("<svg" in page) == (particles > 1)  # one image has no covariance


def test_a_report_of_nothing_but_failures_is_written(comparison, measured):
    compared = comparison(BROKEN)
    page = write_report(compared, measured(compared)).read_text(encoding="utf-8")
    assert "4 runs failed" in page
    assert "<svg" not in page


def test_the_report_works_in_a_browser_on_a_phone(comparison, measured, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium")
    compared = comparison()
    page = write_report(compared, measured(compared))
    # a click on an image opens its path; the result is read from the page as the browser leaves it
    click = (
        "<script>document.querySelector('button[data-path]').click();"
        "document.title = [document.querySelector('dialog').open,"
        "document.querySelector('dialog img').naturalWidth > 0,"
        "document.documentElement.scrollWidth <= innerWidth].join()</script></html>"
    )
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text(encoding="utf-8").replace("</html>", click), encoding="utf-8")
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu"),
        *("--window-size=500,800", "--virtual-time-budget=2000"),
    ]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    opened, _, fits = done.stdout.split("<title>")[1].split("</title>")[0].split(",")
    assert (opened, fits) == ("true", "true")


def test_a_frontier_has_a_line_a_knob_and_is_drawn_for_knobs_alone():
    def row(distance, diversity):
        figures = {"frechet_ddim": Spread((distance,)), "diversity": Spread((diversity,))}
        return Row(8, 32.0, 1, 1, figures, ())

    ddim = row(50.0, 20.0).figures
    table = {"default": row(80.0, 18.0), "draws at 2": row(90.0, 15.0), "draws at 4": row(95.0, 12.0)}
    drawn = frontier_svg(table, ddim)
    assert all(f"<!-- {text} -->" in drawn for text in ("draws", "default", "DDIM", "2", "4"))
    assert frontier_svg({"MSD": row(80.0, 18.0)}, ddim) == ""
