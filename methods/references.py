"""The references as if they had been generated: the ceiling of fidelity, the floor of following a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.adapter import Adapter

if TYPE_CHECKING:
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class References:
    """Trains nothing; answers every prompt with a reference picture."""

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Returns an adapter that answers with the concept's own pictures."""
        return Adapter(base=workbench.model["name"], answers="references")
