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
    assert capsys.readouterr().out.startswith("seed 3\n\n1. threestudio_msd.")
