"""White-box attacks: words of no vocabulary, found by gradient on the erased model itself.

A *prefix* before the erased name (UnlearnDiffAtk, Zhang et al., arXiv 2310.11868, with free vectors in place of
tokens) and an *inversion*, one new word in its place (Pham et al., arXiv 2308.01508).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from bench.adapter import Adapter
from bench.backbone.gate import set_gates
from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbone.token import ConceptToken
    from bench.workbench import Workbench

WORD = "<adv{}>"  # what the words of an attack are called


def named(length: int) -> list[str]:
    """Returns the placeholders of an attack of some words."""
    return [WORD.format(k + 1) for k in range(length)]


class Attacker:
    """Finds words on an erased model that bring its pictures back to the references.

    Args:
        workbench: on the model; its concept's references are what is to come back.
        prompts: what is asked about each reference, the attack's words in it.
        words: the placeholders of the attack's words.
        erased: names of the erasing adapter's parts on the backbone.
        gate: how gated adapters act. No gradient passes a gate: it is set by each step's prompts and then stands.
        batch_size: references a step.
    """

    def __init__(
        self, workbench: Workbench, prompts: Sequence[str], words: Sequence[str], erased: Sequence[str],
        gate: str | float, batch_size: int,
    ) -> None:  # fmt: skip
        self.workbench, self.words, self.erased = workbench, list(words), list(erased)
        self.gate, self.batch_size = gate, batch_size
        self.captions = [(p, p) for p in prompts]

    def batch(self, step: int) -> Batch:
        """Returns one step's references at random times."""
        return self.workbench.noised("attack", step, self.batch_size, self.workbench.latents, self.captions)

    def loss(self, batch: Batch, grad: bool) -> Tensor:
        """Returns E‖target − prediction(x_t | attack)‖² of the erased model."""
        using = [*self.erased, *self.words]
        with _gates(self.workbench, using, batch.complete, self.gate):
            (prediction,) = self.workbench.predict(batch, batch.complete, using=using, grad=grad)
        return (prediction - batch.target).square().mean()

    def learn(self, inits: Sequence[str], steps: int, lr: float) -> Adapter:
        """Returns the words that gradient descent arrives at, from the words `inits`."""
        words = self._put(inits)
        rows = [row for word in words for row in word.parameters()]
        self.workbench.fit(
            "attack", [Group(rows, lr, weight_decay=0.0)],
            lambda batch: {"loss": self.loss(batch, grad=True)},
            steps, self.batch_size, draw=self.batch,
        )  # fmt: skip
        return _kept(words)

    def best_of(self, tries: Sequence[Sequence[str]]) -> Adapter:
        """Returns the best of several lists of words as they are, all on one batch: what as many looks at the model
        give without a gradient.
        """
        from bench.progress import track

        losses, batch = [], self.batch(0)
        for inits in track(tries, "control", len(tries)):
            self._put(inits)
            losses.append(float(self.loss(batch, grad=False)))
        return _kept(self._put(tries[losses.index(min(losses))]))

    def _put(self, inits: Sequence[str]) -> list[ConceptToken]:
        backbone = self.workbench.backbone
        made = [backbone.new_token(text, init, False) for text, init in zip(self.words, inits, strict=True)]
        return [self.workbench.put_token(word.text, word) for word in made]


def _kept(words: Sequence[ConceptToken]) -> Adapter:
    tokens: list[dict[str, Any]] = [{"text": w.text, "init": w.init, "state": w.state()} for w in words]
    return Adapter(tokens=tokens)


@contextmanager
def _gates(workbench: Workbench, using: Sequence[str], prompts: Sequence[str], mode: str | float) -> Iterator[None]:
    backbone = workbench.backbone
    with torch.no_grad(), backbone.using(using):
        set_gates(backbone, prompts, mode)
    try:
        yield
    finally:
        backbone.gating.values.clear()
