"""ClassDiffusion (arXiv 2405.17532): Custom Diffusion without prior data, and a semantic preservation loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch.nn import functional as F

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


def feature_at(ids: Tensor, states: Tensor, token: int) -> Tensor:
    """Returns the states (n, width) at each text's first `token`; ids (n, length), states (n, length, width)."""
    where = (ids == token).int().argmax(1)
    return states[torch.arange(len(ids)), where]


@dataclass
class ClassDiffusion:
    """Keys, values and word; the word's phrase is kept near its class in the text towers.

    Attributes:
        lr: of keys, values and word: the released 1e-5, scaled by its batch of 2.
        steps: optimizer steps.
        batch_size: samples a step.
        spl_weight: λ of the semantic preservation loss. The released code's reconstruction loss is summed over
            the latents' four channels, and its λ is 1: beside a mean over elements, as here, that is 0.25.
        feature: where a phrase's feature is read: `eos`, the end of text, as the paper says; `released`, at the
            placeholder itself, before the class word, and without a position, which is what the code's
            pooling does with a token beyond the vocabulary.
    """

    lr: PositiveFloat = 2e-5
    steps: PositiveInt = 500
    batch_size: PositiveInt = 2
    spl_weight: NonNegativeFloat = 0.25
    feature: Literal["eos", "released"] = "eos"

    tasks: ClassVar[tuple[str, ...]] = ("subject", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Minimizes L_rec + λ L_spl over keys, values and word."""
        word = workbench.token("word", init=concept.class_phrase)
        keys_values = workbench.weights("keys-values", "text_kv", still_first=True)
        groups = [Group(keys_values, self.lr, weight_decay=1e-2), Group(word.parameters(), self.lr, weight_decay=0.0)]

        def loss(batch: Batch) -> dict[str, Tensor]:
            (v,) = workbench.predict(batch, batch.complete, using=["keys-values", "word"], grad=True)
            rec, spl = (v - batch.target).square().mean(), self.spl(workbench, concept)
            return {"loss": rec + self.spl_weight * spl, "rec": rec, "spl": spl}

        workbench.fit("classdiffusion", groups, loss, self.steps, self.batch_size)
        return workbench.adapter(delta="keys-values", word="word")

    def spl(self, workbench: Workbench, concept: Concept) -> Tensor:
        """Returns 1 − cos of the phrases `a picture of a <new1> cat` and `a picture of a cat`, mean over towers."""
        phrases = [f"a picture of a {concept.target}", f"a picture of a {concept.class_phrase}"]
        tokenizers = workbench.backbone.prompts.tokenizers
        parts = []
        for index, (ids, states) in enumerate(workbench.text_states(phrases, using=["word"])):
            end = tokenizers[index].eos_token_id
            ours, its_class = feature_at(ids, states, end)
            if self.feature == "released":
                place = tokenizers[index].convert_tokens_to_ids(concept.token)
                slot = int((ids[0] == place).int().argmax())
                ours = self._without_position(workbench, phrases[0], index, slot)
            parts.append(1 - F.cosine_similarity(ours, its_class.detach(), dim=0))
        return torch.stack(parts).mean()

    @staticmethod
    def _without_position(workbench: Workbench, phrase: str, index: int, slot: int) -> Tensor:
        """Returns a tower's state at the placeholder, the placeholder's own position embedding left out.

        A T5 adds none to its words: there the state is as it is.
        """
        prompts, word = workbench.backbone.prompts, workbench.backbone.tokens["word"]
        named = prompts.encoders[index].named_modules()
        added = next((m.weight[slot] for n, m in named if n.endswith("position_embedding")), torch.zeros(()))
        rows: list[Any] = [row - added if i == index else row for i, row in enumerate(word.rows)]
        bare = replace(word, rows=rows)
        return prompts.states([phrase], [bare], [bare])[index][1][0, slot]
