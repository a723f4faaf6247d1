"""The judges by kind, and what each is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import BenchError
from bench.judges.clip import Clip, OpenClip
from bench.judges.csd import Csd
from bench.judges.dino import Dino
from bench.judges.matching import Blip1, Blip2
from bench.judges.pixels import Pixels
from bench.judges.reader import Reader

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]


class Known(Protocol):
    """What the cache asks of any judge."""

    name: str
    fingerprint: str


class Encoder(Known, Protocol):
    """A judge: pictures (and, for some, texts) to unit-length features."""

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length features (n, d)."""
        ...


Reads = OpenClip | Clip  # judges that embed pictures and texts apart
Matcher = Blip2 | Blip1 | Reader  # judges of a picture and a text together
Judge = Reads | Dino | Csd | Matcher | Pixels
ENCODERS: dict[str, type[Judge]] = {
    "open_clip": OpenClip, "clip": Clip, "dino": Dino, "blip2": Blip2, "blip1": Blip1, "oracle": Reader,
    "pixels": Pixels, "csd": Csd,
}  # fmt: skip


def build(spec: dict[str, str], device: str = "cpu") -> Judge:
    """Builds an encoder of a dataset's config (`kind`, `name`, `path`); it judges in float32 wherever it is.

    Raises:
        BenchError: the kind is unknown or its folder is missing or damaged.
    """
    if spec["kind"] not in ENCODERS:
        raise BenchError(f"encoder kind {spec['kind']!r}; one of {', '.join(ENCODERS)} would be right")
    judge = ENCODERS[spec["kind"]](spec["name"], spec.get("path", ""))
    judge.device = device
    if device == "cuda":
        from bench.backbone.place import exact

        exact()
    return judge
