"""The full-size runs, with a tiny pipeline in the place of the large one."""

import resource

from msd_lab.bench import full_size
from msd_lab.bench.random_pipelines import save_random_pipeline

import launch


def test_a_run_prints_its_memory_and_finite_figures(tmp_path, monkeypatch, capsys):
    save_random_pipeline(tmp_path / "sd21", "sd21")

    def used(command, checkout, status=0):
        assert launch.main([*command[1:], "data.height=16", "data.width=16"]) == status
        return resource.getrusage(resource.RUSAGE_SELF)

    monkeypatch.setattr(full_size, "used", used)
    assert full_size.main(["--models", str(tmp_path), "--dtypes", "bfloat16"]) == 0
    msd, sds = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| m") or line.startswith("| s")
    ]
    assert msd[:2] == ["msd-sd", "bfloat16"] and float(msd[3]) > 0.1
    # eight calls an estimate, two branches each; SDS makes one
    assert msd[-1] == "16 32" and sds[-1] == "2 4"
