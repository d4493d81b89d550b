"""The program that writes pipelines with random weights."""

from __future__ import annotations


def test_the_program_writes_one_that_loads(tmp_path, load_script, capsys):
    from threestudio_msd.priors import embed_prompts, load_model

    program = load_script("make_random_pipeline")
    assert program.main(["--like", "sd21", "--out", str(tmp_path / "sd")]) == 0
    assert "parameters" in capsys.readouterr().out
    model = load_model(str(tmp_path / "sd"))
    assert model.latent_shape == (4, 4, 4)
    assert embed_prompts(["a red mug"], str(tmp_path / "sd")).shape == (1, 8, 16)
