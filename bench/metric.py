"""The contract of a metric: a pure function over features, with its name, direction, needs and version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import BenchError
from bench.names import resolve_name

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float32]]


CUSTOMIZING = ("subject", "style", "subject_style")  # kinds of concept that are learned


@dataclass(frozen=True)
class Features:
    """Unit-length features of one encoder for the cells of one channel, aligned row by row.

    Attributes:
        image: the customized model's pictures, (n, d).
        base: the untouched model's pictures of the same cells and seeds, (n, d).
        text: the prompts without the concept's token, (n, d); None for an encoder of pictures alone.
        references: the concept's reference pictures, (m, d).
        match: for a judge of pictures and texts together, its scores of the pictures with their prompts, (n, k).
    """

    image: Array
    base: Array
    text: Array | None
    references: Array
    match: Array | None = None


@dataclass(frozen=True)
class Metric:
    """A metric as the harness sees it; `metric` says what its fields are."""

    name: str
    title: str
    group: str
    better: Literal["higher", "lower", "zero"]
    needs: str
    channels: tuple[str, ...]
    version: int
    function: Callable[[Features], Array]
    plain: str = ""
    kinds: tuple[str, ...] = ()

    def serves(self, kind: str) -> bool:
        """Returns whether it is defined for concepts of a kind."""
        return not self.kinds or kind in self.kinds

    def value_name(self, channel: str) -> str:
        """Returns what its value on a channel is called in rows."""
        return self.name if channel == self.plain or len(self.channels) == 1 else f"{self.name}/{channel}"


def metric(
    name: str,
    *,
    title: str,
    group: str,
    better: Literal["higher", "lower", "zero"],
    needs: str,
    channels: tuple[str, ...],
    version: int = 1,
    plain: str = "",
    kinds: tuple[str, ...] = (),
) -> Callable[[Callable[[Features], Array]], Metric]:
    """Declares a metric: a function from features to one value a picture.

    Args:
        name: its name in rows.
        title: its name in sentences.
        group: `fidelity`, `prompt following`, `preservation` or `erasure`; tables are in this order.
        better: its direction; `zero` means the nearer to zero the better.
        needs: the encoder slot it reads, `clip`, `dino`, `blip2`, `blip1` or `reader`.
        channels: the channels it is defined on.
        version: raised whenever its values change.
        plain: the channel whose value goes by the name alone, the others being `name/channel`; the references
            themselves are scored by such a metric as an anchor.
        kinds: the concept kinds it is for; none is all.
    """

    def declare(function: Callable[[Features], Array]) -> Metric:
        return Metric(name, title, group, better, needs, channels, version, function, plain, kinds)

    return declare


def load_metrics(targets: Sequence[str]) -> list[Metric]:
    """Imports metrics by their dotted names.

    Raises:
        BenchError: one is not there, or is not a metric.
    """
    found = [resolve_name(t, "protocol.metrics") for t in targets]
    for target, thing in zip(targets, found, strict=True):
        if not isinstance(thing, Metric):
            raise BenchError(
                f"protocol.metrics: {target} is no metric; a function declared with @metric would be right"
            )
    return found
