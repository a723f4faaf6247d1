"""What a method trains on: references, the class's own pictures and what the model makes, each at a random time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.loop import Batch, Log
from bench.pictures import read_picture

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.concept import Concept

COUNTED = "counted "  # begins names among the costs of a training under way: what the model made is in them already

# (stage, prompts, what makes it) → clean latents, and the seconds that making them took
Kept = Callable[[str, Sequence[str], Callable[[], Tensor]], tuple[Tensor, float]]


def made_here(stage: str, prompts: Sequence[str], make: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Makes it, and keeps nothing."""
    begun = time.monotonic()
    return make(), time.monotonic() - begun


class Draws:
    """Draws batches, each from the generator of its seed, stage and step.

    Args:
        backbone: the model, with nothing on it.
        concept: what is learned or erased.
        seed: of training.
        model: the model's config: how it is sampled.
        kept: finds what the untouched model made of the same prompts before.
    """

    def __init__(
        self, backbone: Backbone, concept: Concept, seed: int, model: dict[str, Any], kept: Kept = made_here
    ) -> None:
        self.backbone, self.concept, self.seed, self.model, self._kept = backbone, concept, seed, model, kept
        counted = ("steps", "forward_images", "grad_forward_images", "parameters")
        self._log = Log({}, {"seconds": 0.0} | dict.fromkeys(counted, 0))
        self.latents, self._prior = torch.zeros(0), None  # type: tuple[Tensor, Tensor | None]
        if concept.references:
            self.latents = backbone.encode_images([read_picture(p) for p in concept.image_paths()])

    def batch(self, stage: str, step: int, size: int) -> Batch:
        """Returns the batch of one step: which references, which noise, which times."""
        references = self.concept.references
        captions = [(r.complete, r.base) for r in references]
        return self.noised(stage, step, size, self.latents, captions)

    def noised(self, stage: str, step: int, size: int, latents: Tensor, captions: Sequence[tuple[str, str]]) -> Batch:
        """Returns a batch of the given latents, each with its (complete, base) captions, at random times."""
        generator = self.generator(stage, step)
        order = torch.randperm(len(latents), generator=generator)
        index = order.repeat(-(-size // len(order)))[:size]
        x_0 = latents[index]
        device = self.backbone.device  # noise and times are drawn on the CPU: a seed means the same everywhere
        noise = torch.randn(x_0.shape, generator=generator).to(device)
        t = self.backbone.sample_times(size, generator).to(device)
        x_t, target = self.backbone.add_noise(x_0, noise, t)
        chosen = [captions[i] for i in index.tolist()]
        return Batch(x_t, t, target, [c for c, _ in chosen], [b for _, b in chosen], x_0, step)

    def imagine(self, prompts: Sequence[str], stage: str = "prior") -> Tensor:
        """Returns what the untouched model makes of prompts: clean latents (n, C, h, w), its own sampler.

        Trainings of one seed that ask for the same share it. Each counts what it took, once.
        """
        with self._log.stopped():
            latents, seconds = self._kept(stage, prompts, lambda: self._made(prompts, stage))
        asked = f"{COUNTED}{stage} {hashlib.sha256(repr(list(prompts)).encode()).hexdigest()}"
        if asked not in self._log.cost:  # else asked again, as after an interruption, which a training does not cost
            from bench.backbone.sample import branches

            self._log.cost[asked] = 1
            self._log.cost["seconds"] += seconds
            self._count(len(branches(self.backbone, self.model["guidance_scale"])) * self.model["steps"] * len(prompts))
        return latents.to(self.backbone.device)

    def _made(self, prompts: Sequence[str], stage: str) -> Tensor:
        from bench.backbone.batches import batch_size, in_batches
        from bench.backbone.sample import Guided, branches, denoise, generators, scheduler_of, start
        from bench.progress import track

        steps, ways = self.model["steps"], branches(self.backbone, self.model["guidance_scale"])

        def made(indices: Sequence[int], count: int = steps) -> Tensor:
            some, seeds = [prompts[i] for i in indices], [self.seed_of(stage, i) for i in indices]
            with self.backbone.using([]), torch.no_grad():
                guided, scheduler = Guided(self.backbone, ways, some, some), scheduler_of(self.backbone, count)
                each = generators(seeds)
                x = start(self.backbone, each) * getattr(scheduler, "init_noise_sigma", 1.0)
                return denoise(self.backbone, x, guided, scheduler, generator=each)

        size = batch_size(self.model["batch_size"], self.backbone, lambda: made([0], 1))
        batches = in_batches(range(len(prompts)), size, made, f"{stage} pictures")
        return torch.cat(list(track(batches, f"{stage} pictures", -(-len(prompts) // size))))

    def prior(self, step: int, size: int, count: int) -> Batch:
        """Returns a batch of the class's own pictures, `count` of which the untouched model makes first."""
        prompt = self.concept.class_prompt
        if self._prior is None:
            self._prior = self.imagine([prompt] * count)
        return self.noised("prior-noise", step, size, self._prior, [(prompt, prompt)] * count)

    def partly_denoised(
        self, stage: str, step: int, prompt: str, using: Sequence[str], *, size: int = 1, steps: int = 30,
        guidance_scale: float = 3.0,
    ) -> Batch:  # fmt: skip
        """Returns latents the model itself made of a prompt, up to a random step, at the time they are really at.

        The published loops of SPM and ESD evaluate them some 40 steps of 1000 off (SPM_ERASURE 1.3).
        """
        from bench.backbone.sample import Guided, branches, denoise, scaled, scheduler_of

        generator = self.generator(stage, step)
        scheduler = scheduler_of(self.backbone, steps)
        stop = int(torch.randint(1, steps, (1,), generator=generator))
        x = torch.randn((size, *self.backbone.latent_shape), generator=generator)
        x = x.to(self.backbone.device) * getattr(scheduler, "init_noise_sigma", 1.0)
        ways = branches(self.backbone, guidance_scale)
        with self.backbone.using(using), torch.no_grad():
            guided = Guided(self.backbone, ways, [prompt] * size, [prompt] * size)
            x_t = denoise(self.backbone, x, guided, scheduler, stop, generator=generator)
            x_t = scaled(scheduler, x_t, scheduler.timesteps[stop])
        self._count(len(ways) * stop * size)
        t = torch.full((size,), float(scheduler.timesteps[stop]) / 1000, device=x.device)
        return Batch(x_t, t, torch.zeros_like(x_t), [prompt] * size, [prompt] * size, step=step)

    def generator(self, stage: str, step: int) -> torch.Generator:
        """Returns the generator of one step of a stage."""
        return torch.Generator().manual_seed(self.seed_of(stage, step))

    def seed_of(self, stage: str, step: int) -> int:
        """Returns the seed of one step of a stage."""
        text = f"{self.seed}|{stage}|{step}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")

    def _count(self, images: int, grad: bool = False) -> None:
        self._log.cost["grad_forward_images" if grad else "forward_images"] += images
