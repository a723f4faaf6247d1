"""The contract of a method: a dataclass of hyperparameters with one verb, `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench


@runtime_checkable
class Method(Protocol):
    """What the harness needs of a method.

    A method is a dataclass whose fields are its hyperparameters. Three kinds fit: iterative (calls
    `workbench.fit` once for every stage of the paper), closed form (edits weights), inference only.

    Attributes:
        tasks: the concept kinds it can serve: `subject`, `style`, `subject_style` and `multi` (parts learned, or
            erased, apart and merged), `erase`, `roundtrip` (erasing what was just learned).
        families: the backbone families its mathematics holds for: `flow`, `epsilon`, `v`.
    """

    tasks: ClassVar[tuple[str, ...]]
    families: ClassVar[tuple[str, ...]]

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Learns (or erases) the concept and returns what is to be put on the model."""
        ...
