"""`msd-guidance` on a small random pipeline."""

from __future__ import annotations

import pytest
import threestudio
import threestudio_msd  # noqa: F401  (registers)
import torch
from guidance.stand_ins import PromptUtils, cameras, renders
from threestudio_msd.errors import UserError
from threestudio_msd.fields import FieldError


def guidance(folder, **cfg):
    defaults = {"pretrained_model_name_or_path": str(folder), "trainer_max_steps": 10}
    return threestudio.find("msd-guidance")({**defaults, "sampler": {"type": "posterior", "steps": 2}, **cfg})


def test_loss_is_the_gradient_it_promises(random_pipeline):
    g = guidance(random_pipeline)
    latents = torch.randn(2, 4, 4, 4).requires_grad_()
    out = g(latents.permute(0, 2, 3, 1), PromptUtils(), **cameras(2), rgb_as_latents=True)
    (gradient,) = torch.autograd.grad(out["loss_msd"], latents)
    # the loss is half the squared gradient, summed over a sample and averaged over the batch
    per_sample = 2 * gradient
    assert per_sample.flatten(1).square().mean(1).sqrt().mean() == pytest.approx(
        float(out["grad_norm"]), rel=1e-4
    )
    assert out["loss_msd"].item() == pytest.approx(0.5 * float(per_sample.square().sum()) / 2, rel=1e-4)
    # two steps, conditional and unconditional branch
    assert out["nfe"] == 4
    assert float(out["bandwidth"]) == pytest.approx(g.estimator.bandwidth.start)


def test_gradient_reaches_the_render_through_the_encoder_at_any_resolution(random_pipeline):
    for size in (16, 24):
        rgb = renders(size=size)
        guidance(random_pipeline)(rgb, PromptUtils(), **cameras(2))["loss_msd"].backward()
        assert rgb.grad.abs().sum() > 0


def test_a_particle_does_not_depend_on_its_batch(random_pipeline):
    g = guidance(random_pipeline)
    rgb = renders(3).detach()
    together = g(rgb, PromptUtils(), **cameras(3), index=torch.tensor([0, 1, 2]))
    g = guidance(random_pipeline)
    alone = g(rgb[1:2], PromptUtils(), **cameras(1), index=torch.tensor([1]))
    g = guidance(random_pipeline)
    pair = g(rgb[[0, 2]], PromptUtils(), **cameras(2), index=torch.tensor([0, 2]))
    total = alone["loss_msd"].item() + 2 * pair["loss_msd"].item()
    assert 3 * together["loss_msd"].item() == pytest.approx(total, rel=1e-4)


def test_fixed_noise_repeats_and_fresh_noise_does_not(random_pipeline):
    losses = {}
    for fixed in (False, True):
        g = guidance(
            random_pipeline, fixed_noise=fixed, bandwidth={"type": "constant", "start": 2.0, "end": 2.0}
        )
        for step in (0, 1):
            g.update_step(0, step)
            out = g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
            losses[fixed, step] = out["loss_msd"].item()
    assert losses[True, 0] == losses[True, 1]
    assert losses[False, 0] != losses[False, 1]


def test_bandwidth_follows_the_steps(random_pipeline):
    g = guidance(random_pipeline, bandwidth={"type": "linear", "start": 3.0, "end": 1.0})
    seen = []
    for step in (0, 9, 20):
        g.update_step(0, step)
        seen.append(float(g(renders(), PromptUtils(), **cameras(2))["bandwidth"]))
    assert seen == pytest.approx([3.0, 1.0, 1.0])


def test_a_held_bandwidth_stays_until_it_is_let_go(random_pipeline):
    g = guidance(random_pipeline, bandwidth={"type": "linear", "start": 3.0, "end": 1.0})
    seen = []
    for held in (None, 2.0, None):
        g.hold_bandwidth(held)
        seen.append(float(g(renders(), PromptUtils(), **cameras(2))["bandwidth"]))
    assert seen == pytest.approx([3.0, 2.0, 3.0])


def test_refresh_every_spends_calls_only_at_refreshes_and_survives_a_restart(random_pipeline):
    g = guidance(random_pipeline, refresh_every=3)
    index, calls = torch.arange(2), []
    for step in range(5):
        g.update_step(0, step)
        out = g(renders(), PromptUtils(), **cameras(2), index=index)
        calls.append(out["nfe"])
    assert calls == [4, 4, 4, 8, 8]
    resumed = guidance(random_pipeline, refresh_every=3)
    resumed.load_checkpoint_state(g.checkpoint_state())
    for module in (g, resumed):
        module.update_step(0, 5)
    again = [m(renders(), PromptUtils(), **cameras(2), index=index)["loss_msd"].item() for m in (g, resumed)]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    "cfg",
    [
        {"refresh_every": 2},
        {"fixed_noise": True},
        {"last_fit": 0.5},
        {"bandwidth": {"type": "adaptive", "start": 2.0, "end": 0.1}},
    ],
)
def test_what_belongs_to_a_particle_refuses_random_views(random_pipeline, cfg):
    with pytest.raises(UserError, match="the batch has no index"):
        guidance(random_pipeline, **cfg)(renders(), PromptUtils(), **cameras(2))


def test_targets_and_noise_belong_to_their_index_whatever_batch_it_comes_in(random_pipeline):
    """Two halves, one after the other, give what the whole gives, and the kept targets of both are fitted."""
    settings = {"fixed_noise": True, "refresh_every": 2}
    rgb, index = renders(4).detach(), torch.arange(4)
    whole = guidance(random_pipeline, **settings)
    expected = whole(rgb, PromptUtils(), **cameras(4), index=index)["loss_msd"].item()
    halves = guidance(random_pipeline, **settings)
    for _ in range(2):
        parts = [halves(rgb[i], PromptUtils(), **cameras(2), index=i) for i in (index[1::2], index[::2])]
        assert sum(part["loss_msd"].item() for part in parts) / 2 == pytest.approx(expected, rel=1e-4)
    assert parts[-1]["nfe"] == 2 * whole.nfe  # estimated once each: counts are per sample of a batch


def test_adaptive_bandwidth_falls_and_its_state_is_kept(random_pipeline):
    adaptive = {"type": "adaptive", "start": 2.0, "end": 0.5, "patience": 1}
    g = guidance(random_pipeline, bandwidth=adaptive)
    seen = [
        float(g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))["bandwidth"]) for _ in range(3)
    ]
    assert seen == pytest.approx([2.0, 1.6, 1.28])
    resumed = guidance(random_pipeline, bandwidth=adaptive)
    resumed.load_checkpoint_state(g.checkpoint_state())
    out = resumed(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
    assert float(out["bandwidth"]) == pytest.approx(1.024)


CONSTANT = {"type": "constant", "start": 1.0, "end": 1.0}


def test_finished_is_told(random_pipeline):
    settings = {"bandwidth": CONSTANT, "stop_threshold": 1e6}
    out = guidance(random_pipeline, **settings)(renders(), PromptUtils(), **cameras(2))
    assert out["finished"] == 1.0
    out = guidance(random_pipeline)(renders(), PromptUtils(), **cameras(2))
    assert out["finished"] == 0.0


def test_a_converged_particle_costs_no_further_calls_and_the_run_ends_when_all_have(random_pipeline):
    adaptive = {"type": "adaptive", "start": 1.0, "end": 0.7, "patience": 1}
    settings = {"bandwidth": adaptive, "stop_threshold": 1e6, "refresh_every": 2}
    g, index = guidance(random_pipeline, **settings), torch.arange(2)

    def step(at, rows):
        g.update_step(0, at)
        return g(renders(2)[rows], PromptUtils(), **cameras(len(rows)), index=index[rows])

    spent, ended = [], []
    for at in range(10):
        out = step(at, [0])
        spent.append(out["nfe"])
        ended.append(out["finished"])
    # estimates at lambda 1, .8, .7 and .7: two at the end make an average, which is then fitted twice
    assert [b > a for a, b in zip([0.0, *spent], spent, strict=False)] == [
        i in (0, 2, 4, 6) for i in range(10)
    ]
    assert ended == [0.0] * 7 + [1.0] * 3
    assert step(10, [0, 1])["finished"] == 0.0  # the other one has only begun
    resumed = guidance(random_pipeline, **settings)
    resumed.load_checkpoint_state(g.checkpoint_state())
    assert [resumed.targets.entries[key].converged for key in (0, 1)] == [True, False]


def test_the_last_fit_keeps_the_last_target_and_schedules_run_over_the_steps_before(random_pipeline):
    g = guidance(random_pipeline, trainer_max_steps=8, last_fit=0.5, refresh_every=2)
    calls, lams, losses = [], [], []
    for step in range(8):
        g.update_step(0, step)
        out = g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
        calls.append(out["nfe"])
        lams.append(float(out["bandwidth"]))
        losses.append(out["loss_msd"].item())
    first = calls[0]
    assert calls == [first, first, *[2 * first] * 6]
    schedule = g.estimator.bandwidth
    assert lams == pytest.approx([schedule.start] * 2 + [schedule.at(2 / 3)] * 6)
    assert len(set(losses[2:])) == 1  # of the same renders to the same target


def test_what_converges_early_is_fitted_as_long_and_no_longer(random_pipeline):
    settings = {"bandwidth": CONSTANT, "stop_threshold": 1e6, "trainer_max_steps": 20, "last_fit": 0.25}
    g, ended = guidance(random_pipeline, **settings), []
    for step in range(8):
        g.update_step(0, step)
        ended.append(g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))["finished"])
    # two estimates make an average; the second is fitted by the steps 1 to 5
    assert ended == [0.0] * 5 + [1.0] * 3
    assert g.nfe == 2 * g.estimator.sampler.steps * 2


def test_a_last_fit_needs_a_length(random_pipeline):
    with pytest.raises(FieldError, match="trainer_max_steps: no length is given"):
        guidance(random_pipeline, bandwidth=CONSTANT, trainer_max_steps=None, last_fit=0.5)


def test_a_shift_above_the_threshold_does_not_stop(random_pipeline):
    g = guidance(random_pipeline, bandwidth=CONSTANT, stop_threshold=1e-6)
    for _ in range(4):
        out = g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
    assert out["finished"] == 0.0
    assert out["nfe"] == 4 * g.estimator.sampler.steps * 2


def test_of_a_threshold_that_ends_nothing_a_warning_tells(random_pipeline, caplog):
    linear = {"type": "linear", "start": 2.0, "end": 1.0}
    guidance(random_pipeline, stop_threshold=0.1, bandwidth=linear)
    assert "stop_threshold ends nothing with a bandwidth of type linear" in caplog.text
    caplog.clear()
    guidance(random_pipeline, stop_threshold=0.1, bandwidth=CONSTANT)
    assert "ends nothing" not in caplog.text


NUMBERS = [
    *(("sampler.steps", value) for value in (0, -1, 2.5, True, "many", None)),
    *(
        ("sampler.kernel_interval", value)
        for value in ([5.0, 0.3], [5.0], [1, 2, 3], [0.1, float("nan")], "wide")
    ),
    *(("sampler.rho", value) for value in (0, -1, float("nan"))),
    *(("sampler.sigma_max", value) for value in (0, -1)),
    ("sampler.inversion_steps", 0),
    ("sampler.inversion_limit", float("nan")),
    *(("bandwidth.start", value) for value in (True, 1e300, -1.0, float("nan"))),
    *(("draws_per_estimate", value) for value in (0, 1.5)),
    ("refresh_every", 0),
    ("stop_threshold", float("nan")),
    ("last_fit", 1.0),
    ("guidance_scale", "lots"),
    ("guidance_scale", [0, 1]),
    ("fixed_noise", "stale"),
    ("loss_space", "pixels"),
    ("dtype", "float8"),
]


@pytest.mark.parametrize(("key", "value"), NUMBERS)
def test_wrong_numbers_are_refused_by_name_before_a_model_is_loaded(key, value):
    part, _, name = key.rpartition(".")
    parts = {
        "sampler": {"type": "split", "steps": 2},
        "bandwidth": {"type": "linear", "start": 2.0, "end": 1.0},
    }
    settings = {part: {**parts[part], name: value}} if part else {key: value}
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        guidance("nowhere", **settings)


def test_no_encoder_is_asked_between_estimates_of_images(random_pipeline, monkeypatch):
    settings = {"pretrained_model_name_or_path": str(random_pipeline), "trainer_max_steps": 6}
    g = threestudio.find("msd-guidance")(
        {**settings, "loss_space": "image", "refresh_every": 3, "sampler": {"type": "posterior", "steps": 2}}
    )
    encoded, encode = [], g.model.codec.encode
    monkeypatch.setattr(type(g.model.codec), "encode", lambda _, x: encoded.append(g.step) or encode(x))
    norms = []
    for step in range(6):
        g.update_step(0, step)
        rgb = renders()
        out = g(rgb, PromptUtils(), **cameras(2), index=torch.arange(2))
        out["loss_msd"].backward()
        assert rgb.grad.abs().sum() > 0
        norms.append(float(out["grad_norm"]))
        g.load_checkpoint_state(g.checkpoint_state())
    assert encoded == [0, 3]
    assert norms[0] == norms[1] == norms[2]
    saved = g.checkpoint_state()
    for entry in saved["kept"].values():
        del entry["gradient"]  # as earlier versions
    g.load_checkpoint_state(saved)
    g(renders(), PromptUtils(), **cameras(2), index=torch.arange(2))
    assert encoded == [0, 3, 5]
