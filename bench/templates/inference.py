"""NewMethod (authors, year, arXiv number): in one line, what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import NonNegativeFloat

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class NewMethod:
    """What is asked of the model, and by which rule it is guided; nothing is trained.

    The fields are the hyperparameters. Their types are checked before anything is loaded: take the narrowest that is
    right (`PositiveInt`, `NonNegativeFloat`, `Literal["a", "b"]`, from pydantic and typing).

    Attributes:
        scale: of the guidance from the prompt without the concept's word to the prompt with it.
    """

    scale: NonNegativeFloat = 3.0

    # Kinds of concept it serves: subject, style, subject_style, multi, erase, roundtrip.
    tasks: ClassVar[tuple[str, ...]] = ("subject",)
    # Models its mathematics holds for: flow predicts noise - x_0, epsilon the noise, v the velocity.
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Returns the concept's word as its class reads, and the guidance that weighs it."""
        workbench.token("word", init=concept.class_phrase)
        return workbench.adapter(word="word", consistency_scale=self.scale)
