"""What a method is handed: the model, the reference pictures, and the verbs training is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.adapter import Adapter, Lora
from bench.backbone.gate import Gate
from bench.backbone.token import ConceptToken
from bench.checkpoint import Checkpoint
from bench.loop import Batch, Group, Log, fit
from bench.pictures import read_picture

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.backbone.prompts import PromptEmbeds
    from bench.concept import Concept

__all__ = ["Batch", "Gate", "Group", "Workbench"]


class Workbench:
    """Hands a method the model and its references, and runs its training loops.

    All randomness comes from generators seeded by (seed, stage, step): a run repeats bit for bit, and
    goes on after an interruption as if there had been none.

    Args:
        backbone: the model, with nothing on it.
        concept: what is learned or erased.
        seed: of training.
        model: the model's config: its name, and how it is sampled.
        checkpoint: where an interrupted run goes on from.
    """

    def __init__(
        self, backbone: Backbone, concept: Concept, seed: int, model: dict[str, Any], checkpoint: Checkpoint
    ) -> None:
        self.backbone, self.concept, self.seed, self.model = backbone, concept, seed, model
        self._checkpoint = checkpoint
        counted = ("steps", "forward_images", "grad_forward_images", "parameters")
        self._log = Log({}, {"seconds": 0.0} | dict.fromkeys(counted, 0))
        self.latents, self._prior = torch.zeros(0), None  # type: tuple[Tensor, Tensor | None]
        if concept.references:
            self.latents = backbone.encode_images([read_picture(p) for p in concept.image_paths()])

    # --- what can be trained -------------------------------------------------------------------

    def lora(self, name: str, rank: int, kind: str = "attention", init: str | bool = True) -> list[nn.Parameter]:
        """Puts fresh LoRA factors (alpha = rank) on the denoiser's modules of a kind; returns their parameters."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed_of(f"lora-{name}", 0))
            parameters = self.backbone.add_lora(name, rank, self.backbone.modules(kind), init)
        return self._counted(parameters)

    def token(self, name: str, init: str, layerwise: bool = False) -> ConceptToken:
        """Makes the concept's word trainable, starting from the first piece of `init`."""
        return self.put_token(name, self.backbone.new_token(self.concept.token, init, layerwise))

    def put_token(self, name: str, token: ConceptToken) -> ConceptToken:
        """Puts an existing word on the backbone under a name."""
        self.backbone.add_token(name, token)
        self._counted([p for p in token.parameters() if p.requires_grad])
        return token

    def weights(self, name: str, kind: str, still_first: bool = False) -> list[nn.Parameter]:
        """Makes the denoiser's own weights of a kind trainable, as a change that can be switched off.

        Args:
            name: what the change goes by.
            kind: which modules' weights.
            still_first: no gradient through the first position they read, the start of the text
                (Custom Diffusion and ClassDiffusion train their keys and values so); a T5's text has no such start.
        """
        paths = {f"{m}.weight": None for m in self.backbone.modules(kind)}
        still = still_first and self.backbone.begins
        return self._counted(self.backbone.deltas.add(name, dict(paths), trainable=True, still_first=still))

    def _counted(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        self._log.cost["parameters"] += sum(p.numel() for p in parameters)
        return parameters

    def freeze(self, *names: str) -> None:
        """Ends the training of what goes by these names: it goes on serving `predict`."""
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
            using: names of what is switched on; none is the frozen model.
            grad: whether a gradient is kept.
        """
        count = len(prompts)
        self._count(count * len(batch.t), grad)
        with self.backbone.using(using), torch.set_grad_enabled(grad):
            embeds = self.backbone.encode_prompts([p for group in prompts for p in group])
            out = self.backbone.predict(batch.x_t.repeat(count, 1, 1, 1), batch.t.repeat(count), embeds)
        return out.chunk(count)

    def embed(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Returns prompts as the untouched model reads them."""
        with self.backbone.using([]), torch.no_grad():
            return self.backbone.encode_prompts(prompts)

    def predict_embeds(
        self, batch: Batch, prompts: PromptEmbeds, using: Sequence[str] = (), grad: bool = False
    ) -> Tensor:
        """Predicts for encoded prompts, (m, C, h, w), all at the batch's first x_t and time."""
        count = len(prompts.embeds)
        self._count(count, grad)
        with self.backbone.using(using), torch.set_grad_enabled(grad):
            return self.backbone.predict(batch.x_t[:1].expand(count, -1, -1, -1), batch.t[:1].expand(count), prompts)

    def vocabulary(self) -> list[str]:
        """Returns the whole words the model's tokenizer knows, at most 500, the concept's own left out."""
        mine = set(" ".join([self.concept.target, *self.concept.aliases]).split())
        words = [w for w in self.backbone.prompts.words() if len(w) > 2 and w not in mine]
        order = torch.randperm(len(words), generator=self.generator("vocabulary", 0)).tolist()
        return [words[i] for i in sorted(order[:500])]

    def denoising(self, batch: Batch, using: Sequence[str]) -> Tensor:
        """Returns E‖target − prediction(x_t | complete caption)‖², with a gradient."""
        (prediction,) = self.predict(batch, batch.complete, using=using, grad=True)
        return (prediction - batch.target).square().mean()

    def with_prior(self, batch: Batch, using: Sequence[str], images: int, weight: float) -> dict[str, Tensor]:
        """Returns the denoising loss and, where there are prior images, λ of the class's own (DreamBooth, eq. 2)."""
        instance = self.denoising(batch, using)
        if not images:
            return {"loss": instance}
        kept = self.denoising(self.prior(batch.step, len(batch.t), images), using)
        return {"loss": instance + weight * kept, "instance": instance, "prior": kept}

    def text_states(self, prompts: Sequence[str], using: Sequence[str] = ()) -> list[tuple[Tensor, Tensor]]:
        """Returns each text tower's ids (n, length) and last states (n, length, width), with gradients."""
        with self.backbone.using(using):
            return self.backbone.text_states(prompts)

    def _count(self, images: int, grad: bool = False) -> None:
        self._log.cost["grad_forward_images" if grad else "forward_images"] += images

    # --- what is trained on --------------------------------------------------------------------

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
        """Returns what the untouched model makes of prompts: clean latents (n, C, h, w), its own sampler."""
        from bench.backbone.batches import batch_size, in_batches
        from bench.backbone.sample import Guided, branches, denoise, scheduler_of, start
        from bench.progress import track

        steps, ways = self.model["steps"], branches(self.backbone, self.model["guidance_scale"])

        def made(indices: Sequence[int], count: int = steps) -> Tensor:
            some, seeds = [prompts[i] for i in indices], [self.seed_of(stage, i) for i in indices]
            with self.backbone.using([]), torch.no_grad():
                guided, scheduler = Guided(self.backbone, ways, some, some), scheduler_of(self.backbone, count)
                x = start(self.backbone, seeds) * getattr(scheduler, "init_noise_sigma", 1.0)
                return denoise(self.backbone, x, guided, scheduler)

        size = batch_size(self.model["batch_size"], self.backbone, lambda: made([0], 1))
        batches = in_batches(range(len(prompts)), size, made, f"{stage} pictures")
        parts = list(track(batches, f"{stage} pictures", -(-len(prompts) // size)))
        self._count(len(ways) * steps * len(prompts))
        return torch.cat(parts)

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
            x_t = scaled(scheduler, denoise(self.backbone, x, guided, scheduler, stop), scheduler.timesteps[stop])
        self._count(len(ways) * stop * size)
        t = torch.full((size,), float(scheduler.timesteps[stop]) / 1000, device=x.device)
        return Batch(x_t, t, torch.zeros_like(x_t), [prompt] * size, [prompt] * size, step=step)

    # --- the loop, and what it leaves ----------------------------------------------------------

    def fit(
        self,
        stage: str,
        groups: Sequence[Group],
        loss: Callable[[Batch], dict[str, Tensor]],
        steps: int,
        batch_size: int,
        *,
        draw: Callable[[int], Batch] | None = None,
        after_step: Callable[[Batch], None] | None = None,
        also: Sequence[Tensor] = (),
    ) -> None:
        """Trains a stage of the method (`bench.loop.fit`); `draw` replaces the batches of references."""
        batches = draw or (lambda step: self.batch(stage, step, batch_size))
        half = self.backbone.dtype == torch.float16  # whose gradients vanish unless the loss is scaled
        scaler = torch.amp.GradScaler(self.backbone.device.type, enabled=half)
        fit(stage, groups, batches, loss, steps, self._checkpoint, self._log, after_step, also, scaler)

    def adapter(
        self, lora: str | None = None, word: str | None = None, delta: str | None = None, *,
        gate: Gate | None = None, consistency_scale: float | None = None,
    ) -> Adapter:  # fmt: skip
        """Collects what was trained under these names into an adapter, and clears the backbone."""
        loras = [Lora(self.backbone.lora_state(lora), gate=gate)] if lora else []
        learned = [self.backbone.tokens[word]] if word else []
        tokens = [{"text": t.text, "init": t.init, "state": t.state()} for t in learned]
        changes = self.backbone.deltas.state(delta) if delta else {}
        self.backbone.clear()
        return Adapter(loras, tokens, changes, consistency_scale, prefix=self.backbone.prefix, base=self.model["name"],
                       log=self._log.curves, cost=dict(self._log.cost))  # fmt: skip

    def edited(self, delta: dict[str, Tensor]) -> Adapter:
        """Returns an adapter of weight changes that were worked out, not trained."""
        self._log.cost["parameters"] += sum(v.numel() for v in delta.values())
        return Adapter(delta=delta, prefix=self.backbone.prefix, base=self.model["name"], cost=dict(self._log.cost))

    def generator(self, stage: str, step: int) -> torch.Generator:
        """Returns the generator of one step of a stage."""
        return torch.Generator().manual_seed(self.seed_of(stage, step))

    def seed_of(self, stage: str, step: int) -> int:
        """Returns the seed of one step of a stage."""
        text = f"{self.seed}|{stage}|{step}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
