"""The registry, and configs: resolvers, errors that name the key, folders."""

import pytest
import threestudio
from threestudio.utils.config import (
    C_max,
    ExperimentConfig,
    config_to_primitive,
    dump_config,
    load_config,
    parse_structured,
)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(threestudio, "__modules__", {})
    return threestudio.__modules__


def test_a_class_is_found_under_its_name(registry):
    @threestudio.register("a-name")
    class A:
        pass

    assert threestudio.find("a-name") is A


def test_a_name_cannot_be_taken_twice(registry):
    threestudio.register("a-name")(type("A", (), {}))
    with pytest.raises(ValueError, match=r"'a-name' is already registered, by .*\.A"):
        threestudio.register("a-name")(type("B", (), {}))


def test_mixins_come_before_the_class_they_are_mixed_into(registry):
    threestudio.register("main")(type("Main", (), {"who": "main", "own": 1}))
    threestudio.register("a")(type("A", (), {"who": "a"}))
    threestudio.register("b")(type("B", (), {"who": "b"}))
    mixed = threestudio.find("main:b,a")
    assert [cls.__name__ for cls in mixed.__mro__[1:4]] == ["B", "A", "Main"]
    assert (mixed.who, mixed.own) == ("b", 1)
    assert threestudio.find("main:a").who == "a"


def test_an_unknown_name_is_a_key_error(registry):
    with pytest.raises(KeyError, match="msd-guidence"):
        threestudio.find("msd-guidence")


def test_every_resolver_of_threestudio():
    cfg = load_config(
        """
        tag: ${rmspace:${system.prompt},_}
        name: ${basename:a/b/c}
        system:
          prompt: a green car
          decay: ${calc_exp_lr_decay_rate:0.25,2}
          sums: ["${add:3,2}", "${sub:3,2}", "${mul:3,2}", "${div:3,2}", "${idiv:3,2}"]
          pair: ${tuple2:3}
          tests: ["${gt0:1}", "${gt0:0}", "${not:true}"]
          schedule: [0, 0.0, 2.0, 100]
          maxima: ["${cmaxgt0:${system.schedule}}", "${cmaxgt0:0}",
              "${cmaxgt0orcmaxgt0:0,${system.schedule}}"]
        """,
        from_string=True,
    )
    system = config_to_primitive(cfg.system)
    assert (cfg.name, cfg.tag) == ("c", "a_green_car")
    assert system["decay"] == 0.5
    assert system["sums"] == [5, 1, 6, 1.5, 1]
    assert system["pair"] == [3.0, 3.0]
    assert system["tests"] == [True, False, False]
    assert system["maxima"] == [True, False, True]


@pytest.mark.parametrize(
    ("value", "largest"),
    [(2, 2), ([1.0, 3.0, 10], 3.0), ([0, 4.0, 1.0, 10], 4.0), ([0, 1.0, 5.0, 10, 7.0, 20, 2.0, 30], 7.0)],
)
def test_the_largest_value_of_a_schedule(value, largest):
    assert C_max(value) == largest


def test_later_sources_win(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("tag: file\nseed: 1\nname: file\ndescription: file")
    cfg = load_config(str(file), cli_args=["seed=2", "name=cli"], name="keyword")
    assert (cfg.tag, cfg.seed, cfg.name) == ("file", 2, "keyword")


def test_parsed_settings_stay_typed():
    cfg = parse_structured(ExperimentConfig, {"tag": "a", "seed": 3})
    with pytest.raises(ValueError, match="could not be converted"):
        cfg.seed = "three"


def test_a_dumped_config_is_read_back(tmp_path):
    cfg = load_config("tag: a\ndata: {sizes: [1, 2]}", from_string=True)
    dump_config(str(tmp_path / "parsed.yaml"), cfg)
    assert (
        load_config(str(tmp_path / "parsed.yaml")) == cfg
    )  # its timestamp too: the run's folder stays the same


def test_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config("{name: n, tag: t, use_timestamp: false}", from_string=True)
    assert cfg.trial_dir == "outputs/n/t"
    stamped = load_config("{name: n, tag: t, timestamp: '@20250101-000000'}", from_string=True)
    assert stamped.trial_dir == "outputs/n/t@20250101-000000"
    assert load_config("{tag: t, n_gpus: 2}", from_string=True).trial_name == "t"
    assert list(tmp_path.iterdir()) == []
