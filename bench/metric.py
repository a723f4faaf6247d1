"""The contract of a metric: a pure function over features, with its name, direction, needs and version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import BenchError
from bench.names import resolve_name

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float32]]


Direction = Literal["higher", "lower", "zero", "neither"]  # the last: neither more nor less of it is better
CUSTOMIZING = ("subject", "style", "subject_style")  # kinds of concept that are learned
NAMED = ("concept", "part", "alias", "compose", "words", "prefix")  # where what was erased is asked for in words
ASKED = (*NAMED, "inversion")
KNOWN = 0.5  # the untouched model must draw what is asked in this share of pictures, or nothing can be lost


@dataclass(frozen=True)
class Bank:
    """Pictures of the untouched model, by one encoder, that show a thing and that show what is near to it.

    Attributes:
        positive: of what was erased, (k, d); none where a concept is learned, whose references show it.
        negative: of the concept's class; for what was erased, of its surrogate and its neighbours, (m, d).
        positive_seeds: which of its prompt's pictures each is, (k,).
        negative_seeds: the same, (m,).
    """

    positive: Array
    negative: Array
    positive_seeds: np.ndarray[Any, Any]
    negative_seeds: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Features:
    """Unit-length features of one encoder for the cells of one channel, aligned row by row.

    Attributes:
        image: the customized model's pictures, (n, d).
        base: the untouched model's pictures of the same cells and seeds, (n, d).
        text: the prompts without the concept's token, (n, d); None for an encoder of pictures alone.
        references: the concept's reference pictures, (m, d).
        match: for a judge of pictures and texts together, its scores of the pictures with their prompts, (n, k).
        prompts: which prompt each picture is of, (n,).
        seeds: which of its prompt's pictures each is, (n,).
        bank: the untouched model's pictures that a detector is calibrated on.
        parts: of pictures that show several concepts at once, each concept's kind and which references are its own.
        instead: of what was erased, the prompts with its surrogate in its place, (n, d); None where none is stated.
    """

    image: Array
    base: Array
    text: Array | None
    references: Array
    match: Array | None = None
    prompts: Array | None = None
    seeds: np.ndarray[Any, Any] | None = None
    bank: Bank | None = None
    parts: Sequence[tuple[str, Sequence[int]]] = ()
    instead: Array | None = None

    def to_references(self, pictures: Array, own: Sequence[int] | None = None) -> Array:
        """Returns (n,): the mean cosine of pictures with every reference, or with some of them."""
        references = self.references if own is None else self.references[list(own)]
        return (pictures @ references.T).mean(axis=1)

    def column(self, index: int) -> Array:
        """Returns (n,): one of the scores that a judge of pictures and texts together gave."""
        if self.match is None:
            raise ValueError("the metric needs a judge of pictures and texts together")
        return self.match[:, index]


@dataclass(frozen=True, kw_only=True)
class Score:
    """What metrics and scores derived from them share; `metric` says what the fields are."""

    name: str
    title: str
    group: str
    better: Direction
    channels: tuple[str, ...]
    version: int = 1
    plain: str = ""
    kinds: tuple[str, ...] = ()
    elsewhere: Mapping[str, tuple[Direction, str]] = field(default_factory=dict, hash=False)

    def serves(self, *kinds: str) -> bool:
        """Returns whether it is defined for concepts that are of these kinds."""
        return not self.kinds or any(kind in self.kinds for kind in kinds)

    def direction(self, channel: str) -> Direction:
        """Returns which values are better on a channel."""
        return self.elsewhere.get(channel, (self.better, self.group))[0]

    def group_on(self, channel: str) -> str:
        """Returns the group that its value on a channel belongs to."""
        return self.elsewhere.get(channel, (self.better, self.group))[1]

    def value_name(self, channel: str) -> str:
        """Returns what its value on a channel is called in rows."""
        return self.name if channel == self.plain or len(self.channels) == 1 else f"{self.name}/{channel}"


@dataclass(frozen=True, kw_only=True)
class Metric(Score):
    """A metric as the harness sees it: one value a picture."""

    needs: str
    function: Callable[[Features], Array]
    binary: bool = False
    gate: Callable[[Features], str] | None = None
    together: bool = False
    over: str = ""


def metric(
    name: str,
    *,
    title: str,
    group: str,
    better: Direction,
    needs: str,
    channels: tuple[str, ...],
    version: int = 1,
    plain: str = "",
    kinds: tuple[str, ...] = (),
    elsewhere: Mapping[str, tuple[Direction, str]] | None = None,
    binary: bool = False,
    gate: Callable[[Features], str] | None = None,
    together: bool = False,
    over: str = "",
) -> Callable[[Callable[[Features], Array]], Metric]:
    """Declares a metric: a function from features to one value a picture.

    Args:
        name: its name in rows.
        title: its name in sentences.
        group: `fidelity`, `prompt following`, `preservation` or `erasure`; tables are in this order.
        better: its direction; `zero` means the nearer to zero the better, `neither`, neither good nor bad.
        needs: the encoder slot it reads, `clip`, `dino`, `blip2`, `blip1` or `reader`.
        channels: the channels it is defined on.
        version: raised whenever its values change.
        plain: the channel whose value goes by the name alone, the others being `name/channel`; the references
            themselves are scored by such a metric as an anchor.
        kinds: the concept kinds it is for; none is all.
        elsewhere: channel → direction and group, where it means something else there.
        binary: whether its values are 0 and 1; a share of none or of all then gets Wilson's bound.
        gate: says why the metric cannot be measured on this concept, or nothing.
        together: whether a value depends on the other pictures of its prompt.
        over: a metric that it is drawn over in the report, one point a prompt.
    """

    def declare(function: Callable[[Features], Array]) -> Metric:
        return Metric(
            name=name, title=title, group=group, better=better, channels=channels, version=version, plain=plain,
            kinds=kinds, elsewhere=elsewhere or {}, needs=needs, function=function, binary=binary, gate=gate,
            together=together, over=over,
        )  # fmt: skip

    return declare


class Mean(Protocol):
    """What a derived score reads."""

    def __call__(self, metric: str, source: str, channel: str, /) -> Any:
        """Returns a metric's mean: itself, (1,), a gate's as a number; or once for every bootstrap draw, (draws,)."""
        ...

    def measured(self, score: Derived, channel: str, /) -> bool:
        """Returns whether another score can be measured on a channel: the same for a mean and for its draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Derived(Score):
    """A score made of other metrics' means, of several sources or channels, all resampled together."""

    of: tuple[str, ...]
    function: Callable[[Mean, str], Array]
    gate: Callable[[Mean, str], str] | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    whole: Callable[[Mean, str], Sequence[Array]] | None = None


def derived(
    name: str,
    *,
    title: str,
    group: str,
    better: Direction,
    of: tuple[str, ...],
    channels: tuple[str, ...],
    version: int = 1,
    plain: str = "",
    kinds: tuple[str, ...] = (),
    gate: Callable[[Mean, str], str] | None = None,
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
    whole: Callable[[Mean, str], Sequence[Array]] | None = None,
) -> Callable[[Callable[[Mean, str], Array]], Derived]:
    """Declares a score of means: a function of `mean(metric, source, channel)` and the channel it is for.

    Args:
        name: its name in rows.
        title: its name in sentences.
        group: as of `metric`.
        better: its direction.
        of: the metrics it reads; the protocol must measure them too.
        channels: the channels it is defined on.
        version: raised whenever its values change.
        plain: the channel whose value goes by the name alone.
        kinds: the concept kinds it is for; none is all.
        gate: says why it cannot be measured, of the means and the channel, or nothing.
        bounds: what it can be at all; no interval leaves them.
        whole: what it is a share of, one or several; it is not measured where these may be next to nothing.
    """

    def declare(function: Callable[[Mean, str], Array]) -> Derived:
        return Derived(
            name=name, title=title, group=group, better=better, channels=channels, version=version, plain=plain,
            kinds=kinds, of=of, function=function, gate=gate, bounds=bounds, whole=whole,
        )  # fmt: skip

    return declare


def load_metrics(targets: Sequence[str]) -> list[Metric | Derived]:
    """Imports metrics by their dotted names.

    Raises:
        BenchError: one is not there, or is not a metric.
    """
    found = [resolve_name(t, "protocol.metrics") for t in targets]
    for target, thing in zip(targets, found, strict=True):
        if not isinstance(thing, Metric | Derived):
            raise BenchError(
                f"protocol.metrics: {target} is no metric; a function declared with @metric or @derived would be right"
            )
    return found
