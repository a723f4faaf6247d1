"""Rewards a method may learn from: what one of the judges says of its pictures.

A method that learns from the judge it is scored by is at an advantage on that judge: its row names the reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.pictures import read_picture

if TYPE_CHECKING:
    from PIL import Image

    from bench.concept import Concept


def to_images(pictures: Tensor) -> list[Image.Image]:
    """Returns pictures (n, 3, H, W) in [-1, 1] as images, which is how judges see them when they score."""
    from PIL import Image

    pixels = ((pictures.detach().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(p) for p in pixels]


@dataclass
class _Judged:
    """A reward that one of the judges gives.

    Attributes:
        kind: of the encoder, as in `conf/dataset`.
        path: of its folder.
    """

    kind: str
    path: str
    _loaded: Any = field(default=None, repr=False, init=False)

    def encoder(self, device: torch.device) -> Any:
        """Returns the judge, loaded when it is first asked, where the pictures are."""
        from bench.judges.build import build

        said = {"kind": self.kind, "name": self.kind, "path": self.path}
        self._loaded = self._loaded or build(said, str(device))
        return self._loaded


@dataclass
class Likeness(_Judged):
    """The mean cosine with the concept's reference pictures, as DINO and CLIP-I score it."""

    _references: Any = field(default=None, repr=False)

    def __call__(self, pictures: Tensor, captions: Sequence[str], concept: Concept) -> Tensor:
        """Returns rewards (n,) of pictures (n, 3, H, W) in [-1, 1]."""
        judge = self.encoder(pictures.device)
        if self._references is None:
            self._references = judge.images([read_picture(p) for p in concept.image_paths()])
        return torch.from_numpy((judge.images(to_images(pictures)) @ self._references.T).mean(1)).to(pictures.device)


@dataclass
class Following(_Judged):
    """The cosine with the caption that names only the class, as CLIP-T scores it."""

    def __call__(self, pictures: Tensor, captions: Sequence[str], concept: Concept) -> Tensor:
        """Returns rewards (n,) of pictures (n, 3, H, W) in [-1, 1]."""
        judge = self.encoder(pictures.device)
        seen, text = judge.images(to_images(pictures)), judge.texts(captions)
        return torch.from_numpy((seen * text).sum(1)).to(pictures.device)
