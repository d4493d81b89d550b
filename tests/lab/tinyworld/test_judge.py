"""The judges that ship: right about fresh renders, not fooled by images of nothing, and measured."""

from __future__ import annotations

import json

import pytest
import torch
from msd_lab.tinyworld.details import DETAILS
from msd_lab.tinyworld.judge import HEADS, JUDGES, NOTHING, TRUNKS, Judge, load_judge, save_judge
from msd_lab.tinyworld.world import OBJECTS, Caption, turn_between
from msd_lab.training.classifiers import AUGMENTATIONS, confusion, judge_loss, measure_judge
from msd_lab.training.negatives import KINDS


@pytest.fixture(scope="module", params=JUDGES)
def judge(request):
    return load_judge(request.param)


def test_right_about_fresh_renders(judge, renders):
    found = measure_judge(judge, renders)
    accuracy = found["accuracy"]
    assert accuracy["renders"] == 96
    assert accuracy["object"] >= 0.95
    assert accuracy["colour"] >= 0.97
    assert accuracy["azimuth"] <= 10
    assert accuracy["elevation"] <= 10
    assert accuracy["details"] >= 0.9
    assert {name: tuple(own) for name, own in found["details"].items()} == {
        name: tuple(detail.name for detail in pair) for name, pair in DETAILS.items()
    }


def test_records_what_it_is_worth(judge):
    assert {*HEADS, "renders", "azimuth", "elevation", "details"} <= set(judge.accuracy)
    assert judge.accuracy["renders"] >= 1000
    assert judge.accuracy["object"] >= 0.97
    assert judge.accuracy["colour"] >= 0.98
    assert judge.accuracy["azimuth"] <= 10
    assert judge.accuracy["elevation"] <= 10
    assert set(judge.record["negatives"]) == set(KINDS)


def test_is_not_fooled_by_images_of_nothing(judge, renders):
    found = confusion(judge, renders, 12, seed=99)
    assert set(found) == set(KINDS)
    taken = {kind: sum(read.values()) - read.get(NOTHING, 0) for kind, read in found.items()}
    assert sum(taken.values()) <= 0.05 * 12 * len(KINDS), taken


def test_reads_imperfect_renders_too(judge, renders):
    augment = AUGMENTATIONS[judge.record["training"]["augmentation"]]
    worse = augment(renders.float, torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    logits = judge(worse)
    assert (logits["object"].argmax(-1) == renders.object).float().mean() >= 0.9
    assert (logits["colour"].argmax(-1) == renders.colour).float().mean() >= 0.9


def test_says_from_where_and_whether_a_detail_is_seen(judge, renders):
    azimuth, elevation = judge.camera(renders.float.permute(0, 2, 3, 1))
    assert azimuth.shape == elevation.shape == (len(renders),)
    assert azimuth.abs().max() <= 180
    assert turn_between(azimuth, renders.azimuth)[renders.turned].median() <= 10
    names = [OBJECTS[i] for i in renders.object]
    seen = judge.details(renders.float.permute(0, 2, 3, 1), names)
    assert seen.dtype == torch.bool
    known = renders.details >= 0
    assert (seen == (renders.details == 1))[known].float().mean() >= 0.9


def test_resizes_and_gives_features_and_names(judge):
    images = torch.rand(3, 96, 96, 3)
    assert judge.features(images).shape == (3, 128)
    prediction = judge.classify(images)
    for head, names in HEADS.items():
        best = judge(images)[head].argmax(-1).tolist()
        assert getattr(prediction, head) == [names[i] for i in best]


def test_nothing_is_never_what_was_asked(judge):
    prediction = judge.classify(torch.full((1, 64, 64, 3), 0.9))
    assert prediction.object == [NOTHING]
    assert not prediction.right([Caption("mug", prediction.colour[0])])["both"][0]


def test_batch_composition_does_not_matter(judge):
    images = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(judge.features(images)[2:3], judge.features(images[2:3]), atol=1e-4)


def test_refuses_other_layouts(judge):
    with pytest.raises(ValueError, match=r"\[n, h, w, 3\]"):
        judge.features(torch.rand(2, 3, 64, 64))


def test_the_judges_differ():
    one, other = (load_judge(name) for name in JUDGES)
    assert type(one.trunk) is not type(other.trunk)
    trainings = [judge.record["training"] for judge in (one, other)]
    assert trainings[0]["augmentation"] != trainings[1]["augmentation"]
    assert trainings[0]["seed"] != trainings[1]["seed"]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_augmented_images_are_images_and_come_again_from_their_seed(augmentation, renders):
    one, same = (
        AUGMENTATIONS[augmentation](renders.float[:8], torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, same)
    assert one.shape == (8, 3, 64, 64)
    assert one.min() >= 0
    assert one.max() <= 1
    assert 0.001 < (one - renders.float[:8]).abs().mean() < 0.2


def test_the_loss_falls_where_every_head_is_right(renders):
    few = renders[slice(0, 8)]
    n, sharp = len(few), 20.0
    azimuth = torch.deg2rad(few.azimuth)
    details = torch.zeros(n + 1, len(OBJECTS), 2)
    details[torch.arange(n), few.object] = sharp * (2.0 * (few.details == 1) - 1)
    right = {
        "object": sharp * torch.eye(13)[[*few.object.tolist(), 12]],
        "colour": sharp * torch.eye(8)[[*few.colour.tolist(), 0]],
        "view": sharp * torch.eye(4)[[*few.view.tolist(), 0]],
        "camera": torch.cat(
            (torch.stack((azimuth.sin(), azimuth.cos(), (few.elevation - 30) / 40), -1), torch.zeros(1, 3))
        ),
        "details": details,
    }
    assert judge_loss(right, few) < 1e-3
    for head in right:
        assert judge_loss(right | {head: -right[head]}, few) > 0.1, head


@pytest.mark.parametrize("trunk", TRUNKS)
def test_saves_and_loads(tmp_path, trunk):
    torch.manual_seed(0)
    judge = Judge(trunk, width=4, features=8).eval()
    save_judge(judge, tmp_path, {"trunk": trunk, "width": 4, "features": 8, "accuracy": {"object": 0.5}})
    loaded = load_judge(tmp_path)
    images = torch.rand(2, 64, 64, 3)
    assert torch.allclose(loaded.features(images), judge.features(images), atol=1e-2)
    assert loaded.accuracy == {"object": 0.5}


def test_a_judge_of_another_world_is_refused(tmp_path):
    settings = json.loads((JUDGES["a"] / "config.json").read_text())
    settings["heads"]["object"][0] = "zebra"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "judge.safetensors").write_bytes((JUDGES["a"] / "judge.safetensors").read_bytes())
    with pytest.raises(ValueError, match="another world"):
        load_judge(tmp_path)


def test_a_missing_judge_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train_prior\.py"):
        load_judge(tmp_path)
