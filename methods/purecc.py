"""PureCC (arXiv 2603.07561v2): concept customization that leaves the original behaviour alone.

The paper and its released code are two configurations of this file, `purecc` and `purecc_release`:
the released code switches the extractor off, fixes λ at 1, learns one word instead of layer-wise
embeddings, weighs with η = 2 and trains stage 2 twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt

from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from torch import Tensor

    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


def adaptive_scale(r_2: Tensor, r_1: Tensor) -> Tensor:
    """Returns λ* = ⟨R2, R1⟩ / ‖R1‖² for each sample, (n, 1, 1, 1) (eq. 11–12)."""
    inner = (r_2 * r_1).flatten(1).sum(1)
    return (inner / (r_1.square().flatten(1).sum(1) + 1e-12))[:, None, None, None]


@dataclass
class PureCC:
    """Two stages: an extractor that learns the concept, then a student that is guided by it.

    Attributes:
        rank: of both LoRAs (alpha = rank).
        extractor_lr: learning rate of stage 1's LoRA.
        lr: learning rate of stage 2's LoRA.
        token_lr: of the concept's embeddings.
        extractor_steps: optimizer steps of stage 1.
        steps: optimizer steps of stage 2.
        extractor_batch_size: samples a step in stage 1.
        batch_size: samples a step in stage 2.
        eta: weight of the PureCC loss (eq. 15).
        scale: `adaptive` for λ* a sample (eq. 12), or a fixed λ.
        extractor: what gives R1: the frozen `stage_1` model (eq. 8), or the untouched `base` (released code).
        v_orig: the original behaviour that eq. 13 starts from: the `student`'s own base prediction with its gradient
            (eq. 9), the same `detached`, or the `frozen` model's (supplement 14).
        embedding: `layerwise` vectors before every block (eq. 7), or one `single` word (released code).
        train_embedding: whether the student's own copy of the embedding goes on training (figure 3b).
    """

    rank: PositiveInt = 4
    extractor_lr: PositiveFloat = 1e-4
    lr: PositiveFloat = 1e-4
    token_lr: PositiveFloat = 1e-4
    extractor_steps: PositiveInt = 400
    steps: PositiveInt = 400
    extractor_batch_size: PositiveInt = 2
    batch_size: PositiveInt = 2
    eta: NonNegativeFloat = 1.0
    scale: FiniteFloat | Literal["adaptive"] = "adaptive"
    extractor: Literal["stage_1", "base"] = "stage_1"
    v_orig: Literal["student", "detached", "frozen"] = "student"
    embedding: Literal["layerwise", "single"] = "layerwise"
    train_embedding: bool = True

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Trains the extractor, freezes it, and trains the student against it."""
        self._stage_1(workbench, concept)
        self._stage_2(workbench, concept)
        return workbench.adapter(lora="student", word="student-word")

    def _stage_1(self, workbench: Workbench, concept: Concept) -> None:
        """L_CC of the representation extractor θ1: LoRA and embedding on the complete captions."""
        word = workbench.token("extractor-word", init=concept.class_phrase, layerwise=self.embedding == "layerwise")
        factors = Group(workbench.lora("extractor", self.rank, init="gaussian"), self.extractor_lr)
        groups = [factors, Group(word.parameters(), self.token_lr, weight_decay=0.0)]

        def loss(batch: Batch) -> dict[str, Tensor]:
            (v,) = workbench.predict(batch, batch.complete, using=["extractor", "extractor-word"], grad=True)
            return {"loss": (v - batch.target).square().mean()}

        workbench.fit("extractor", groups, loss, self.extractor_steps, self.extractor_batch_size)
        workbench.freeze("extractor", "extractor-word")

    def _stage_2(self, workbench: Workbench, concept: Concept) -> None:
        """L_PCC = L_CC + η · L_PureCC (eq. 15) over a fresh LoRA and the student's embedding."""
        trained = workbench.backbone.tokens["extractor-word"]
        word = workbench.put_token("student-word", trained.copy(trainable=self.train_embedding))
        groups = [Group(workbench.lora("student", self.rank, init="gaussian"), self.lr)]
        if self.train_embedding:
            groups.append(Group(word.parameters(), self.token_lr, weight_decay=0.0))
        workbench.fit(
            "student", groups, lambda batch: self.loss(workbench, concept, batch), self.steps, self.batch_size
        )

    def loss(self, workbench: Workbench, concept: Concept, batch: Batch) -> dict[str, Tensor]:
        """Equations 8–15, all four predictions at the same x_t, noise and t."""
        v_complete, v_base = workbench.predict(
            batch, batch.complete, batch.base, using=["student", "student-word"], grad=True
        )
        frozen = ["extractor", "extractor-word"] if self.extractor == "stage_1" else ["extractor-word"]
        target, empty = [concept.target] * len(batch.t), [""] * len(batch.t)
        v_target, v_empty = workbench.predict(batch, target, empty, using=frozen)
        r_1, r_2 = v_target - v_empty, v_complete - v_base  # eq. 8 and 10
        scale = adaptive_scale(r_2, r_1) if self.scale == "adaptive" else r_1.new_tensor(self.scale)
        l_cc = (batch.target - v_complete).square().mean()  # eq. 3
        v_orig = v_base if self.v_orig == "student" else v_base.detach()  # eq. 9
        if self.v_orig == "frozen":
            (v_orig,) = workbench.predict(batch, batch.base)
        l_purecc = (v_orig + scale * r_1 - v_complete).square().mean()  # eq. 13 and 14
        return {"loss": l_cc + self.eta * l_purecc, "l_cc": l_cc, "l_purecc": l_purecc, "lambda": scale.mean()}
