"""The untouched model: the anchor every method is measured from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.adapter import Adapter

if TYPE_CHECKING:
    from bench.concept import Concept
    from bench.workbench import Workbench


@dataclass
class Untouched:
    """Trains nothing; it is asked in plain words, without the concept's placeholder."""

    tasks: ClassVar[tuple[str, ...]] = ("subject", "style", "subject_style", "multi", "erase", "roundtrip")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Returns an empty adapter."""
        return Adapter(base=workbench.model["name"])
