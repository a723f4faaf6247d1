"""Judges broken on purpose, as real ones have been: the validity page must expose each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from bench.judges.build import Judge


def _negative(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.invert(image.convert("RGB"))


def _rescaled_twice(image: Image.Image) -> Image.Image:
    """Pixels divided by 255 once more than they should be: what is left is all but black."""
    return image.convert("RGB").point(lambda v: round(v / 255))


def reads(judge: Any) -> bool:
    """Returns whether a judge reads texts."""
    return bool(getattr(judge, "reads", hasattr(judge, "texts") or hasattr(judge, "pairs")))


class Broken:
    """A judge behind a fault in its pictures or in its texts."""

    def __init__(
        self, judge: Judge, pixels: Callable[[Image.Image], Image.Image] | None = None, shuffled: bool = False
    ) -> None:
        self._judge, self._pixels, self._shuffled = judge, pixels, shuffled
        self.columns, self.reads = getattr(judge, "columns", ()), reads(judge)

    def _seen(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        return [self._pixels(i) for i in images] if self._pixels else list(images)

    def _read(self, texts: Sequence[str]) -> list[str]:
        return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))] if self._shuffled else list(texts)

    def images(self, images: Sequence[Image.Image]) -> Any:
        """Returns image features behind the fault."""
        return self._judge.images(self._seen(images))  # type: ignore[union-attr]

    def texts(self, texts: Sequence[str]) -> Any:
        """Returns text features behind the fault."""
        return self._judge.texts(self._read(texts))  # type: ignore[union-attr]

    def pairs(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        """Returns matching scores behind the fault."""
        return self._judge.pairs(self._seen(images), self._read(texts))  # type: ignore[union-attr]


def faults(judge: Judge) -> dict[str, Broken]:
    """Returns the broken versions of a judge; captions are shuffled only for one that reads them.

    Plain pixels are compared with pixels: what is done to all of them alike breaks nothing.
    """
    if not hasattr(judge, "folder"):
        return {}
    out = {
        "photographic negative": Broken(judge, _negative),
        "rescaled twice": Broken(judge, _rescaled_twice),
    }
    return out | ({"shuffled captions": Broken(judge, shuffled=True)} if reads(judge) else {})
