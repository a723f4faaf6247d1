"""From noise to pictures, or part of the way: one loop for every family and every rule of guidance."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from bench.backbone.gate import set_gates

if TYPE_CHECKING:
    from PIL import Image

    from bench.backbone.base import Backbone
    from bench.backbone.embeds import PromptEmbeds


@dataclass(frozen=True)
class Branch:
    """One prediction of a guided step: which prompts, whether the adapters are on, its weight in the sum, and the
    guidance that a distilled network is told of.
    """

    prompts: Literal["empty", "base", "asked"]
    adapted: bool
    weight: float
    told: float = 1.0


def branches(backbone: Backbone, scale: float, consistency_scale: float | None = None) -> list[Branch]:
    """Returns the branches of a guided step.

    A guidance-distilled network has learned v_w = v(∅) + w (v(asked) − v(∅)): it is told w, and runs once. DCO's
    guidance is then v⁰_w(base) + (w_con / w) (v_w(asked) − v⁰_w(base)), the same sum where the distillation is exact.
    """
    if not backbone.distilled:
        return classifier_free(scale) if consistency_scale is None else consistency(scale, consistency_scale)
    if consistency_scale is None:
        return [Branch("asked", True, 1.0, scale)]
    share = consistency_scale / max(scale, 1.0)
    return [Branch("base", False, 1 - share, scale), Branch("asked", True, share, scale)]


def classifier_free(scale: float) -> list[Branch]:
    """Returns v(∅) + w (v(asked) − v(∅)); at w ≤ 1 there is no second branch, as in diffusers."""
    if scale <= 1:
        return [Branch("asked", True, 1.0)]
    return [Branch("empty", True, 1 - scale), Branch("asked", True, scale)]


def consistency(scale: float, consistency_scale: float) -> list[Branch]:
    """Returns DCO's guidance: v⁰(∅) + w (v⁰(base) − v⁰(∅)) + w_con (v(asked) − v⁰(base)), v⁰ the untouched model."""
    return [
        Branch("empty", False, 1 - scale),
        Branch("base", False, scale - consistency_scale),
        Branch("asked", True, consistency_scale),
    ]


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Returns one generator a picture: on the CPU, where a seed means the same everywhere."""
    return [torch.Generator().manual_seed(s) for s in seeds]


def start(backbone: Backbone, each: Sequence[torch.Generator]) -> Tensor:
    """Returns noise (n, C, h, w), each picture's from its own generator."""
    noise = torch.cat([torch.randn((1, *backbone.latent_shape), generator=g) for g in each])
    return noise.to(backbone.device)


def scheduler_of(backbone: Backbone, steps: int) -> Any:
    """Returns a fresh copy of the pipeline's scheduler, set to a number of steps."""
    own = backbone.pipe.scheduler
    scheduler = type(own).from_config(own.config)
    backbone.set_timesteps(scheduler, steps)
    return scheduler


class Guided:
    """A guided prediction at one step, its prompts encoded once.

    Branches that share their adapters run as one batch.
    """

    def __init__(
        self, backbone: Backbone, branches: Sequence[Branch], asked: Sequence[str], base: Sequence[str]
    ) -> None:
        self._backbone, self._on, self._told = backbone, backbone.active, branches[0].told
        self._groups: list[tuple[bool, PromptEmbeds, list[float]]] = []
        texts = {"asked": list(asked), "base": list(base), "empty": [""] * len(asked)}
        for adapted in (True, False):
            mine = [b for b in branches if b.adapted == adapted]
            if mine:
                with backbone.using(self._on if adapted else ()):
                    embeds = backbone.encode_prompts([p for b in mine for p in texts[b.prompts]])
                self._groups.append((adapted, embeds, [b.weight for b in mine]))

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Returns the weighted sum of the branches at x_t (n, C, h, w) and one time t."""
        total = torch.zeros_like(x_t)
        for adapted, embeds, weights in self._groups:
            count = len(weights)
            with self._backbone.using(self._on if adapted else ()), self._backbone.told(self._told):
                out = self._backbone.predict(x_t.repeat(count, 1, 1, 1), t.expand(count * len(x_t)), embeds)
            for part, weight in zip(out.chunk(count), weights, strict=True):
                total = total + weight * part
        return total


@contextmanager
def _gated(backbone: Backbone, prompts: Sequence[str], mode: str | float) -> Iterator[None]:
    set_gates(backbone, prompts, mode)
    try:
        yield
    finally:
        backbone.gating.values.clear()


def scaled(scheduler: Any, x: Tensor, timestep: Any) -> Tensor:
    """Returns x_t as the network is to see it; some schedulers (Euler's) work on x_0 + (σ/α) noise."""
    return scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x


@torch.no_grad()
def denoise(
    backbone: Backbone, x: Tensor, guided: Guided, scheduler: Any, stop: int | None = None, begin: int = 0, *,
    generator: torch.Generator | list[torch.Generator],
) -> Tensor:  # fmt: skip
    """Runs the sampler's steps from `begin` to before `stop`, or to the end; noise that it adds is the generator's."""
    own = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    if begin and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    for timestep in scheduler.timesteps[begin:stop]:
        x_t, t = scaled(scheduler, x, timestep), torch.as_tensor(timestep, dtype=torch.float32)[None] / 1000
        prediction = guided(x_t, t.to(x.device))
        x = scheduler.step(prediction, timestep, x, return_dict=False, **own)[0]
    return x


@contextmanager
def _sampling(backbone: Backbone) -> Iterator[None]:
    backbone.sampling = True
    try:
        yield
    finally:
        backbone.sampling = False


@torch.no_grad()
def sample(
    backbone: Backbone,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
    *,
    base: Sequence[str] | None = None,
    consistency_scale: float | None = None,
    gate: str | float = "auto",
) -> list[Image.Image]:
    """Makes one picture a prompt with whatever is switched on, each from its own generator.

    Args:
        backbone: the model.
        prompts: what is asked.
        seeds: one a picture.
        steps: of the pipeline's own sampler.
        guidance_scale: w of classifier-free guidance.
        base: the prompts without the concept's word, for guidance that needs them.
        consistency_scale: w_con of DCO's guidance; None is classifier-free guidance.
        gate: how gated adapters act.
    """
    scheduler = scheduler_of(backbone, steps)
    with _gated(backbone, prompts, gate), _sampling(backbone):
        guided = Guided(backbone, branches(backbone, guidance_scale, consistency_scale), prompts, base or prompts)
        each = generators(seeds)
        x = start(backbone, each) * getattr(scheduler, "init_noise_sigma", 1.0)
        x = denoise(backbone, x, guided, scheduler, generator=each)
    if not bool((pictures := backbone.decode(x)).isfinite().all()):
        raise ValueError("sampling left the finite numbers; a lower model.guidance_scale or another dtype may help")
    return backbone.pipe.image_processor.postprocess(pictures, output_type="pil")
