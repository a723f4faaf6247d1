"""A judge that says what a picture shows, whatever was asked for: the embedded world's oracle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.judges.folder import OfFolder

if TYPE_CHECKING:
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]


class Reader(OfFolder):
    """The oracle, asked which of its subjects a picture shows."""

    columns = ("probability", "first")

    @cached_property
    def _model(self) -> Any:
        from bench.stickers.pretrain import oracle

        return oracle.load(self.folder).to(self.device)

    def knows(self, prompt: str) -> bool:
        """Returns whether a prompt asks for something the reader has a word for."""
        return bool(self._nouns(prompt))

    @staticmethod
    def _nouns(prompt: str) -> list[int]:
        """Returns the indices of the subjects a prompt names, by whichever of their names; the longest name counts:
        a big cat is a tiger.
        """
        from bench.stickers.world import names, world

        known = [
            (word, k) for k, noun in enumerate(names("subject")) for word in (noun, *world()["subjects"][noun][1:])
        ]
        found = []
        for word, k in sorted(known, key=lambda w: -len(w[0])):
            prompt, count = re.subn(rf"\b{word}\b", "", prompt)
            found += [k] if count else []
        return sorted(set(found))

    def pairs(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Array:
        """Returns (n, 2) of pictures and prompts: the probability of the subjects a prompt names, and whether
        one of them is the reader's first answer (1 or 0).
        """
        import torch

        from bench.backbone.files import squares
        from bench.stickers.pretrain.data import to_tensor
        from bench.stickers.render import SIZE

        with torch.no_grad():
            likely = self._model(to_tensor(squares(images, SIZE)).to(self.device))["subject"].softmax(-1).cpu()
        rows = [
            (float(p[nouns].sum()), float(int(p.argmax()) in nouns))
            for p, nouns in zip(likely, map(self._nouns, texts), strict=True)
        ]
        return np.array(rows, np.float32)
