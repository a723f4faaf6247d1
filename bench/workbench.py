"""What a method is handed: the model, the reference pictures, and the verbs training is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.adapter import Adapter, Lora
from bench.backbone.gate import Gate
from bench.backbone.token import ConceptToken
from bench.checkpoint import Checkpoint
from bench.draws import COUNTED, Draws, Kept, made_here
from bench.errors import Diverged
from bench.loop import Batch, Group, fit

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.backbone.embeds import PromptEmbeds
    from bench.concept import Concept

__all__ = ["Batch", "Gate", "Group", "Workbench"]


class Workbench(Draws):
    """Hands a method the model and its references, and runs its training loops.

    All randomness comes from generators seeded by (seed, stage, step): a run repeats bit for bit, and
    goes on after an interruption as if there had been none.

    Args:
        backbone: the model, with nothing on it.
        concept: what is learned or erased.
        seed: of training.
        model: the model's config: its name, and how it is sampled.
        checkpoint: where an interrupted run goes on from.
        kept: finds what the untouched model made of the same prompts before.
    """

    def __init__(
        self, backbone: Backbone, concept: Concept, seed: int, model: dict[str, Any], checkpoint: Checkpoint,
        kept: Kept = made_here,
    ) -> None:  # fmt: skip
        super().__init__(backbone, concept, seed, model, kept)
        self._checkpoint = checkpoint

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
        try:
            fit(stage, groups, batches, loss, steps, self._checkpoint, self._log, after_step, also, scaler)
        except Diverged as error:  # a method that sees it itself has no curves to say
            error.curves = error.curves or self._log.curves
            raise

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
                       log=self._log.curves, cost=self._spent())  # fmt: skip

    def edited(self, delta: dict[str, Tensor]) -> Adapter:
        """Returns an adapter of weight changes that were worked out, not trained."""
        self._log.cost["parameters"] += sum(v.numel() for v in delta.values())
        return Adapter(delta=delta, prefix=self.backbone.prefix, base=self.model["name"], cost=self._spent())

    def _spent(self) -> dict[str, float]:
        return {name: cost for name, cost in self._log.cost.items() if not name.startswith(COUNTED)}
