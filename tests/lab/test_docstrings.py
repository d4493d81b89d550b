"""The draw of docstrings: by seed, each with its name and signature."""

from msd_lab.docstrings import draw, main


def test_a_seed_draws_the_same_and_another_seed_others(capsys):
    assert draw(3, 5) == draw(3, 5) != draw(4, 5)
    everything = draw(0, 10_000)
    assert len(everything) == len(set(everything)) > 100
    assert any(
        text.startswith("threestudio_msd.settings.build_part\ndef build_part(kinds: ") for text in everything
    )
    assert main(["--seed", "3", "--count", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("seed 3\n\nRead in every signature:\n") and "\n\n1. threestudio_msd." in out


def test_a_class_shows_its_fields_its_bases_and_what_it_offers():
    (constant,) = [
        text for text in draw(0, 10_000) if text.startswith("threestudio_msd.distillation.msd.MSD\n")
    ]
    assert "\n    draws_per_estimate: int = number(1, least=1, most=1000)\n" in constant
    assert "\nBase Checked: " in constant and "\nBase Estimator: " in constant
    assert "def __call__(self, y: Batch, prior: Prior," in constant
    assert "\n        Estimate the gradient on every render.\n" in constant + "\n"  # the base's sentence
