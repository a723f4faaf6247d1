"""What a method is handed: the model, the reference pictures, and the verbs training is made of."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.adapter import Adapter
from bench.backbone.token import ConceptToken
from bench.checkpoint import Checkpoint
from bench.errors import BenchError, Diverged
from bench.progress import track

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.concept import Concept

log = logging.getLogger("bench")

# Every attention projection of both streams; what diffusers' own SD3 scripts train.
JOINT_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0",
                   "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")  # fmt: skip


@dataclass
class Batch:
    """One training batch at one noise level a sample.

    Attributes:
        x_t: noised latents (n, C, h, w).
        t: times (n,).
        target: what the family's network is to predict, shaped as x_t.
        complete: captions that name the concept.
        base: the same captions without it.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    complete: list[str]
    base: list[str]


@dataclass
class Group:
    """Parameters that train together, at one learning rate."""

    parameters: list[nn.Parameter]
    lr: float
    weight_decay: float = 1e-4
    clip: float = 1.0


class Workbench:
    """Hands a method the model and its references, and runs its training loops.

    All randomness comes from generators seeded by (seed, stage, step): a run repeats bit for bit, and
    goes on after an interruption as if there had been none.
    """

    def __init__(self, backbone: Backbone, concept: Concept, seed: int, model: str, checkpoint: Checkpoint) -> None:
        from PIL import Image

        self.backbone, self.concept, self.seed, self.model = backbone, concept, seed, model
        self._checkpoint = checkpoint
        self._curves: dict[str, list[float]] = {}
        self._cost: dict[str, float] = {
            "seconds": 0.0,
            "steps": 0,
            "forward_images": 0,
            "grad_forward_images": 0,
            "parameters": 0,
        }
        self._latents = torch.zeros(0)
        if concept.references:
            images = [Image.open(p) for p in concept.image_paths()]
            self._latents = backbone.encode_images(images)

    # --- what can be trained -------------------------------------------------------------------

    def lora(
        self, name: str, rank: int, targets: Sequence[str] = JOINT_ATTENTION, init: str | bool = True
    ) -> list[nn.Parameter]:
        """Puts fresh LoRA factors on the denoiser (alpha = rank) and returns their parameters."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed_of(f"lora-{name}", 0))
            parameters = self.backbone.add_lora(name, rank, targets, init)
        self._cost["parameters"] += sum(p.numel() for p in parameters)
        return parameters

    def token(self, name: str, init: str, layerwise: bool = False) -> ConceptToken:
        """Makes the concept's word trainable, starting from the first piece of `init`."""
        token = self.backbone.new_token(self.concept.token, init, layerwise)
        return self.put_token(name, token)

    def put_token(self, name: str, token: ConceptToken) -> ConceptToken:
        """Puts an existing token on the backbone under a name."""
        self.backbone.add_token(name, token)
        self._cost["parameters"] += sum(p.numel() for p in token.parameters() if p.requires_grad)
        return token

    def freeze(self, *names: str) -> None:
        """Ends the training of LoRAs and tokens: they go on serving `predict`."""
        for name in names:
            self.backbone.freeze(name)

    # --- prediction ----------------------------------------------------------------------------

    def predict(
        self, batch: Batch, *prompts: Sequence[str], using: Sequence[str] = (), grad: bool = False
    ) -> tuple[Tensor, ...]:
        """Predicts at one (x_t, t) for several prompt lists, as one batch.

        Args:
            batch: where to predict.
            prompts: lists of one prompt a sample; one prediction comes back for each list.
            using: names of the LoRAs and tokens that are on; none is the frozen model.
            grad: whether a gradient is kept.
        """
        count = len(prompts)
        self._cost["grad_forward_images" if grad else "forward_images"] += count * len(batch.t)
        with self.backbone.using(using), torch.set_grad_enabled(grad):
            embeds = self.backbone.encode_prompts([p for group in prompts for p in group])
            out = self.backbone.predict(batch.x_t.repeat(count, 1, 1, 1), batch.t.repeat(count), embeds)
        return out.chunk(count)

    # --- the loop ------------------------------------------------------------------------------

    def batch(self, stage: str, step: int, size: int) -> Batch:
        """Returns the batch of one step: which references, which noise, which times."""
        generator = torch.Generator().manual_seed(self._seed_of(stage, step))
        order = torch.randperm(len(self._latents), generator=generator)
        index = order.repeat(-(-size // len(order)))[:size]
        x_0 = self._latents[index]
        noise = torch.randn(x_0.shape, generator=generator)
        t = self.backbone.sample_times(size, generator)
        x_t, target = self.backbone.add_noise(x_0, noise, t)
        references = [self.concept.references[i] for i in index.tolist()]
        return Batch(x_t, t, target, [r.complete for r in references], [r.base for r in references])

    def fit(
        self,
        stage: str,
        groups: Sequence[Group],
        loss: Callable[[Batch], dict[str, Tensor]],
        steps: int,
        batch_size: int,
    ) -> None:
        """Trains parameters for a stage of the method, with AdamW at a constant rate.

        Args:
            stage: its name, for the bar, the log and the checkpoint.
            groups: what trains.
            loss: loss(batch) → named scalars; `loss` is minimized, the others are logged.
            steps: optimizer steps.
            batch_size: samples a step.

        Raises:
            Diverged: the loss is no longer finite.
            BenchError: a parameter that should train gets no gradient.
        """
        optimizer = torch.optim.AdamW(
            [{"params": g.parameters, "lr": g.lr, "weight_decay": g.weight_decay} for g in groups], betas=(0.9, 0.999)
        )
        trained = [p for g in groups for p in g.parameters]
        first = self._checkpoint.restore(stage, trained, optimizer, self._curves, self._cost)
        begun = time.monotonic()
        for step in track(range(first, steps), stage, steps, first):
            values = loss(self.batch(stage, step, batch_size))
            if not torch.isfinite(values["loss"]):
                raise Diverged(f"{stage}: the loss of step {step} is {values['loss'].item()}", self._curves)
            values["loss"].backward()
            if step == 0:
                self._check_gradients(stage, groups)
            for group in groups:
                nn.utils.clip_grad_norm_(group.parameters, group.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for name, value in values.items():
                self._curves.setdefault(f"{stage}/{name}", []).append(round(float(value.detach()), 6))
            self._cost["steps"] += 1
            if self._checkpoint.due() and step + 1 < steps:
                self._cost["seconds"] += time.monotonic() - begun
                begun = time.monotonic()
                self._checkpoint.keep(stage, step + 1, trained, optimizer, self._curves, self._cost)
        self._cost["seconds"] += time.monotonic() - begun
        if not all(bool(torch.isfinite(p).all()) for p in trained):
            raise Diverged(f"{stage}: the last step left weights that are not finite", self._curves)
        if first < steps:
            self._checkpoint.keep(stage, steps, trained, optimizer, self._curves, self._cost)

    @staticmethod
    def _check_gradients(stage: str, groups: Sequence[Group]) -> None:
        silent = [i for i, g in enumerate(groups) if all(p.grad is None for p in g.parameters)]
        if silent:
            raise BenchError(f"{stage}: parameter group {silent[0]} gets no gradient from the loss")

    def adapter(self, lora: str | None = None, token: str | None = None) -> Adapter:
        """Collects what was trained under these names into an adapter, and clears the backbone."""
        factors = self.backbone.lora_state(lora) if lora else {}
        word = self.backbone.tokens[token] if token else None
        saved = {"text": word.text, "init": word.init, "state": word.state()} if word else None
        self.backbone.clear()
        return Adapter(factors, saved, self.model, self._curves, dict(self._cost))

    def _seed_of(self, stage: str, step: int) -> int:
        text = f"{self.seed}|{stage}|{step}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
