"""From a prompt to text embeddings for every view direction, cached on disk."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

import threestudio
import torch
from jaxtyping import Bool, Float, Int
from threestudio.models.prompt_processors.cache import Embedded, TextCache
from threestudio.utils.base import BaseObject
from threestudio.utils.config import ConfigError
from threestudio.utils.ops import shifted_expotional_decay
from torch import Tensor

CACHE_DIR = ".threestudio_cache/text_embeddings"
PROMPT_LIBRARY = "load/prompt_library.json"


def shift_azimuth_deg(azimuth: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """An azimuth in degrees, brought to [-180, 180)."""
    return (azimuth + 180) % 360 - 180


@dataclass
class DirectionConfig:
    """A view direction: what it does to the prompts, and which cameras it holds for."""

    name: str
    prompt: Callable[[str], str]
    negative_prompt: Callable[[str], str]
    # (elevation, azimuth, camera distance) -> whether the camera looks from this direction
    condition: Callable[[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B"]], Bool[Tensor, "B"]]


@dataclass
class PromptProcessorOutput:
    """Text embeddings of one prompt, plain and per direction; what a guidance calls
    `prompt_utils`.
    """

    text_embeddings: Float[Tensor, "1 N Nf"]
    uncond_text_embeddings: Float[Tensor, "1 N Nf"]
    text_embeddings_vd: Float[Tensor, "Nv N Nf"]
    uncond_text_embeddings_vd: Float[Tensor, "Nv N Nf"]
    directions: list[DirectionConfig]
    direction2idx: dict[str, int]
    use_perp_neg: bool
    perp_neg_f_sb: tuple[float, float, float]
    perp_neg_f_fsb: tuple[float, float, float]
    perp_neg_f_fs: tuple[float, float, float]
    perp_neg_f_sf: tuple[float, float, float]
    prompt: str
    prompts_vd: list[str]

    def get_text_embeddings(
        self,
        elevation: Float[Tensor, "B"],
        azimuth: Float[Tensor, "B"],
        camera_distances: Float[Tensor, "B"],
        view_dependent_prompting: bool = True,
    ) -> Float[Tensor, "BB N Nf"]:
        """Embeddings for a batch of cameras.

        Args:
            elevation: Degrees.
            azimuth: Degrees; 0 is the front.
            camera_distances: Scene units.
            view_dependent_prompting: Use the prompts of the direction that each camera
                looks from.

        Returns:
            Two blocks of B: with the prompt, then with the negative prompt.
        """
        if view_dependent_prompting:
            idx = self._direction_idx(elevation, azimuth, camera_distances)
            return torch.cat([self.text_embeddings_vd[idx], self.uncond_text_embeddings_vd[idx]])
        batch = elevation.shape[0]
        plain = (self.text_embeddings, self.uncond_text_embeddings)
        return torch.cat([embedding.expand(batch, -1, -1) for embedding in plain])

    def get_text_embeddings_perp_neg(
        self,
        elevation: Float[Tensor, "B"],
        azimuth: Float[Tensor, "B"],
        camera_distances: Float[Tensor, "B"],
        view_dependent_prompting: bool = True,
    ) -> tuple[Float[Tensor, "BBBB N Nf"], Float[Tensor, "B 2"]]:
        """Embeddings and weights for Perp-Neg (arXiv 2304.04968), which interpolates
        between neighbours.

        Args:
            elevation: Degrees.
            azimuth: Degrees; 0 is the front.
            camera_distances: Scene units.
            view_dependent_prompting: Must be true.

        Returns:
            Four blocks of B: the interpolated prompt; the negative prompt; and two
            views to stay away from, sample by sample (both of the first sample, both of
            the second, ...). And the (negative) weights of those two.

        Raises:
            ValueError: View-dependent prompting is off.
        """
        if not view_dependent_prompting:
            raise ValueError("Perp-Neg only works with view-dependent prompting")
        idx = self._direction_idx(elevation, azimuth, camera_distances)
        overhead = idx == self.direction2idx["overhead"]
        turn = shift_azimuth_deg(azimuth).abs() / 90  # 0 front, 1 side, 2 back
        in_front = turn < 1
        r = torch.where(in_front, 1 - turn, 2 - turn)  # 1 at the front (or side), 0 at the side (or back)
        side, front, back, above = (
            self.text_embeddings_vd[self.direction2idx[name]]
            for name in ("side", "front", "back", "overhead")
        )
        uncond = self.uncond_text_embeddings_vd[idx]
        positive = _where(in_front, _mix(r, front, side), _mix(r, side, back))
        away = (_where(in_front, front, side), _where(in_front, side, front))
        negative = torch.stack([_where(overhead, uncond, view) for view in away], dim=1).flatten(0, 1)
        weights = self._perp_neg_weights(in_front, r).masked_fill(overhead[:, None], 0.0)
        return torch.cat([_where(overhead, above, positive), uncond, negative]), weights

    def _perp_neg_weights(self, in_front: Bool[Tensor, "B"], r: Float[Tensor, "B"]) -> Float[Tensor, "B 2"]:
        def decays(*terms: tuple[tuple[float, float, float], Tensor]) -> Float[Tensor, "B 2"]:
            return torch.stack([-shifted_expotional_decay(*abc, part) for abc, part in terms], dim=1)

        front = decays((self.perp_neg_f_fs, r), (self.perp_neg_f_sf, 1 - r))
        behind = decays((self.perp_neg_f_sb, r), (self.perp_neg_f_fsb, r))
        return torch.where(in_front[:, None], front, behind)

    def _direction_idx(
        self, elevation: Float[Tensor, "B"], azimuth: Float[Tensor, "B"], distance: Float[Tensor, "B"]
    ) -> Int[Tensor, "B"]:
        idx = torch.zeros_like(elevation, dtype=torch.long)
        for direction in self.directions:  # the last one that holds wins
            idx[direction.condition(elevation, azimuth, distance)] = self.direction2idx[direction.name]
        return idx


def _where(condition: Bool[Tensor, "B"], a: Tensor, b: Tensor) -> Float[Tensor, "B N Nf"]:
    return torch.where(condition[:, None, None], a, b)


def _mix(
    r: Float[Tensor, "B"], a: Float[Tensor, "N Nf"], b: Float[Tensor, "N Nf"]
) -> Float[Tensor, "B N Nf"]:
    return r[:, None, None] * a + (1 - r[:, None, None]) * b


class PromptProcessor(BaseObject):
    """Turns the prompts of a config into embeddings; subclasses bring the text encoder.

    A subclass implements `get_text_embeddings`, and `text_encoder_stamp` where its
    encoder can change under one name. It puts what a prompt loses to the encoder's
    limit into `ignored`.

    Attributes:
        ignored: By prompt, the part that is not in its embedding.
    """

    @dataclass
    class Config(BaseObject.Config):
        prompt: str = "a hamburger"  # or "lib:some_keywords", looked up in load/prompt_library.json

        # prompts of single directions, instead of those made from `prompt`
        prompt_front: str | None = None
        prompt_side: str | None = None
        prompt_back: str | None = None
        prompt_overhead: str | None = None

        negative_prompt: str = ""
        pretrained_model_name_or_path: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        revision: str | None = None  # a branch, tag or commit of the model on the hub
        overhead_threshold: float = 60.0  # degrees of elevation
        front_threshold: float = 45.0  # degrees of azimuth to either side
        back_threshold: float = 45.0
        view_dependent_prompt_front: bool = False  # "side view of X" instead of "X, side view"
        use_cache: bool = True
        spawn: bool = (
            True  # threestudio's choice of a separate process; here the encoder is freed in this one
        )

        use_perp_neg: bool = False
        # a exp(-b r) + c, each as (a, b, c): side-back, front-side-back, front-side, side-front
        perp_neg_f_sb: tuple[float, float, float] = (1, 0.5, -0.606)
        perp_neg_f_fsb: tuple[float, float, float] = (1, 0.5, +0.967)
        perp_neg_f_fs: tuple[float, float, float] = (4, 0.5, -2.426)
        perp_neg_f_sf: tuple[float, float, float] = (4, 0.5, -2.426)

        def __post_init__(self) -> None:
            if not self.prompt.strip():
                raise ValueError("prompt: is empty")

    cfg: Config

    def configure(self) -> None:
        self.directions = self._make_directions()
        self.direction2idx = {direction.name: i for i, direction in enumerate(self.directions)}
        self.prompt = self.preprocess_prompt(self.cfg.prompt)
        self.negative_prompt = self.cfg.negative_prompt
        threestudio.info(f"Using prompt [{self.prompt}] and negative prompt [{self.negative_prompt}]")
        self.prompts_vd = [
            self.cfg.get(f"prompt_{direction.name}") or direction.prompt(self.prompt)
            for direction in self.directions
        ]
        self.negative_prompts_vd = [
            direction.negative_prompt(self.negative_prompt) for direction in self.directions
        ]
        shown = " ".join(f"[{d.name}]:[{p}]" for d, p in zip(self.directions, self.prompts_vd, strict=True))
        threestudio.info(f"Using view-dependent prompts {shown}")
        self.prepare_text_embeddings()
        self.load_text_embeddings()

    def _make_directions(self) -> list[DirectionConfig]:
        front_first = self.cfg.view_dependent_prompt_front
        conditions = {
            "side": lambda ele, azi, dis: torch.ones_like(ele, dtype=torch.bool),
            "front": lambda ele, azi, dis: shift_azimuth_deg(azi).abs() < self.cfg.front_threshold,
            "back": lambda ele, azi, dis: shift_azimuth_deg(azi).abs() > 180 - self.cfg.back_threshold,
            "overhead": lambda ele, azi, dis: ele > self.cfg.overhead_threshold,
        }

        def direction(name: str) -> DirectionConfig:
            view = "backside" if front_first and name == "back" else name
            template = f"{view} view of {{}}" if front_first else f"{{}}, {view} view"
            return DirectionConfig(
                name=name,
                prompt=lambda prompt: template.replace("{}", prompt),
                negative_prompt=lambda prompt: prompt,
                condition=conditions[name],
            )

        return [direction(name) for name in conditions]

    def preprocess_prompt(self, prompt: str) -> str:
        """The prompt itself, or the one of the prompt library that has all keywords of
        `lib:a_b_c`.

        Raises:
            ConfigError: There is no library, it has another form, or not exactly one of
                its prompts fits.
        """
        if not prompt.startswith("lib:"):
            return prompt
        if not os.path.exists(PROMPT_LIBRARY):
            raise ConfigError(f"prompt '{prompt}': there is no prompt library at {PROMPT_LIBRARY}")
        keywords = prompt.removeprefix("lib:").lower().split("_")
        try:
            with open(PROMPT_LIBRARY, encoding="utf-8") as file:
                library = json.load(file)["dreamfusion"]
            found = [entry for entry in library if all(keyword in entry.lower() for keyword in keywords)]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"prompt '{prompt}': {PROMPT_LIBRARY} does not hold {{\"dreamfusion\": [PROMPT, ...]}}"
            ) from error
        if len(found) != 1:
            raise ConfigError(
                f"prompt '{prompt}': {len(found)} prompts of the library have these keywords, not 1"
            )
        threestudio.info(f"Find matched prompt in library: {found[0]}")
        return found[0]

    def prepare_text_embeddings(self) -> None:
        """Compute the embeddings of all prompts, or take them from the cache."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        self._embeddings = self._embed(list(dict.fromkeys(prompts)))

    def load_text_embeddings(self) -> None:
        """Fill in the embeddings of all prompts."""
        load = self.load_from_cache
        self.text_embeddings = load(self.prompt)[None]
        self.uncond_text_embeddings = load(self.negative_prompt)[None]
        self.text_embeddings_vd = torch.stack([load(prompt) for prompt in self.prompts_vd])
        self.uncond_text_embeddings_vd = torch.stack([load(prompt) for prompt in self.negative_prompts_vd])

    def load_from_cache(self, prompt: str) -> Float[Tensor, "N Nf"]:
        """Return the embedding that `prepare_text_embeddings` made of a prompt."""
        return self._embeddings[prompt]

    def _embed(self, prompts: list[str]) -> dict[str, Float[Tensor, "N Nf"]]:
        cache = TextCache()
        found = {prompt: cache.read(self.cache_path(prompt)) for prompt in prompts if self.cfg.use_cache}
        known = {prompt: entry for prompt, entry in found.items() if entry is not None}
        missing = [prompt for prompt in prompts if prompt not in known]
        if missing:
            computed = self._compute(missing)
            if self.cfg.use_cache:
                cache.write({self.cache_path(prompt): entry for prompt, entry in computed.items()})
            known |= computed
        for prompt, entry in known.items():
            if entry.ignored:
                threestudio.warn(
                    f"the prompt [{prompt}] is too long for the text encoder, which ignores: {entry.ignored}"
                )
        return {prompt: entry.embedding.to(self.device) for prompt, entry in known.items()}

    def _compute(self, prompts: list[str]) -> dict[str, Embedded]:
        self.ignored: dict[str, str] = {}
        embeddings = self.get_text_embeddings(prompts, [])[0]
        torch.cuda.empty_cache()  # of the text encoder, which is freed
        return {
            prompt: Embedded(embedding, self.ignored.get(prompt, ""))
            for prompt, embedding in zip(prompts, embeddings, strict=True)
        }

    def cache_path(self, prompt: str) -> str:
        """Name the file of a prompt's embedding, by a hash of model, revision, its
        state, and prompt.
        """
        key = [self.cfg.pretrained_model_name_or_path, self.cfg.revision, self.text_encoder_stamp(), prompt]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        return os.path.join(CACHE_DIR, f"{digest}.safetensors")

    def text_encoder_stamp(self) -> list:
        """Something that changes with the text encoder's files; hub models have an id
        and a revision.
        """
        return []

    def get_text_embeddings(
        self, prompt: str | list[str], negative_prompt: str | list[str]
    ) -> tuple[Float[Tensor, "B N Nf"], Float[Tensor, "U N Nf"]]:
        """Compute embeddings of prompts and negative prompts, without the cache."""
        raise NotImplementedError

    def __call__(self) -> PromptProcessorOutput:
        return PromptProcessorOutput(
            text_embeddings=self.text_embeddings,
            uncond_text_embeddings=self.uncond_text_embeddings,
            text_embeddings_vd=self.text_embeddings_vd,
            uncond_text_embeddings_vd=self.uncond_text_embeddings_vd,
            directions=self.directions,
            direction2idx=self.direction2idx,
            use_perp_neg=self.cfg.use_perp_neg,
            perp_neg_f_sb=tuple(self.cfg.perp_neg_f_sb),
            perp_neg_f_fsb=tuple(self.cfg.perp_neg_f_fsb),
            perp_neg_f_fs=tuple(self.cfg.perp_neg_f_fs),
            perp_neg_f_sf=tuple(self.cfg.perp_neg_f_sf),
            prompt=self.prompt,
            prompts_vd=self.prompts_vd,
        )
