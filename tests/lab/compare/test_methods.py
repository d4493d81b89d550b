"""Methods: the words and files that name them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msd_lab.compare.methods import Method, read_methods
from threestudio_msd.errors import UserError

from launcher.config import load_yaml

LISTS = Path(__file__).parents[3] / "lab" / "msd_lab" / "configs"


def test_a_method_is_read_from_its_word(tmp_path):
    config = tmp_path / "a, b=c.yaml"
    config.touch()
    method = Method("SDS 3", str(config), ("system.guidance.guidance_scale=3", "data.x=[1,2]"))
    assert Method.parse(method.word) == method


@pytest.mark.parametrize("label", ["../../x", "..", "a/b", "", ".hidden", "a\nb", "DDIM", "x" * 99, "c:\\x"])
def test_labels_that_are_no_names_of_folders_are_refused(label):
    with pytest.raises(UserError, match="cannot be a label"):
        Method(label, "config.yaml")


@pytest.mark.parametrize(
    ("override", "told"), [("name=x", "name is the comparison's to set"), ("x", "'x' is no key=value")]
)
def test_settings_of_the_grid_are_its_own(override, told):
    with pytest.raises(UserError, match=told):
        Method("A", "config.yaml", (override,))


@pytest.mark.parametrize(
    ("name", "word", "label", "overrides"),
    [
        ("msd-tiny.yaml", "{}", "MSD", ()),
        ("msd-tiny.yaml", "0.3 to 5={}", "0.3 to 5", ()),
        ("msd-tiny.yaml", "{},a.b=[1,2],c=x", "MSD", ("a.b=[1,2]", "c=x")),
        ("a b,c=d.yaml", "{}", "A B,C=D", ()),
        ("a b,c=d.yaml", "X={},e=f", "X", ("e=f",)),
    ],
)
def test_methods_are_read_from_words_whatever_their_paths(
    tmp_path, monkeypatch, name, word, label, overrides
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert Method.parse(word.format(name)) == Method(label, str(tmp_path / name), overrides)


def test_a_missing_config_is_named():
    with pytest.raises(UserError, match=r"--configs: no such file: none\.yaml"):
        Method.parse("A=none.yaml,b=c")


def test_methods_need_different_names(tmp_path):
    (tmp_path / "msd-tiny.yaml").write_text("a: 1")
    with pytest.raises(UserError, match="different names"):
        read_methods([str(tmp_path / "msd-tiny.yaml")] * 2)


def test_a_file_lists_methods_relative_to_itself(tmp_path):
    (tmp_path / "msd.yaml").write_text("a: 1")
    rows = [
        "methods:",
        "  A: {config: msd.yaml}",
        "  B 2: {config: msd.yaml, overrides: {a.b: 0.0112, c: 101}}",
    ]
    (tmp_path / "list.yaml").write_text("\n".join(rows))
    config = str(tmp_path / "msd.yaml")
    expected = [Method("A", config), Method("B 2", config, ("a.b=0.0112", "c=101")), Method("MSD", config)]
    assert read_methods([str(tmp_path / "list.yaml"), config]) == expected


@pytest.mark.parametrize(
    "rows", ["[a]", "{A: msd.yaml}", "{A: {overrides: {a: 1}}}", "{A: {config: x, overrides: 3}}"]
)
def test_a_malformed_list_is_named(tmp_path, rows):
    (tmp_path / "list.yaml").write_text(f"methods: {rows}")
    with pytest.raises(UserError, match=r"--configs: .*list\.yaml: expected methods: LABEL: "):
        read_methods([str(tmp_path / "list.yaml")])


def test_the_bundled_lists_name_configs_that_are_there():
    rows = {name: read_methods([str(LISTS / f"{name}.yaml")]) for name in ("compare", "compare-3d")}
    assert [method.label for method in rows["compare"]] == [
        *("MSD", "MSD searched", "SDS", "SDS published", "SDI", "SDI published", "VSD", "VSD searched"),
    ]
    assert [method.label for method in rows["compare-3d"]] == ["MSD", "SDS", "SDI", "VSD", "Ceiling"]
    assert all(Path(method.config).is_file() for methods in rows.values() for method in methods)


def test_a_config_that_has_moved_is_found_with_one_warning(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[3])
    old, new = "configs/truth-nerf-tiny.yaml", LISTS / "truth-nerf-tiny.yaml"
    with pytest.warns(FutureWarning, match="has moved to lab/msd_lab/configs/truth-nerf-tiny.yaml") as warned:
        (method,) = read_methods([f"Ceiling={old}"])
    assert (method, len(warned)) == (Method("Ceiling", str(new)), 1)
    with pytest.warns(FutureWarning, match="has moved to"):
        assert load_yaml(old) == load_yaml(str(new))
