"""Rewards a method may learn from: what one of the judges says of its pictures.

A method that learns from the judge it is scored by is at an advantage on that judge: its row names the reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

    from bench.concept import Concept


def to_images(pictures: Tensor) -> list[Image.Image]:
    """Returns pictures (n, 3, H, W) in [-1, 1] as images, which is how judges see them when they score."""
    from PIL import Image

    pixels = ((pictures.detach().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(p) for p in pixels]


@dataclass
class Likeness:
    """The mean cosine with the concept's reference pictures, as DINO and CLIP-I score it.

    Attributes:
        kind: of the encoder, as in `conf/dataset`.
        path: of its folder.
    """

    kind: str
    path: str
    _encoder: Any = field(default=None, repr=False)
    _references: Any = field(default=None, repr=False)

    def __call__(self, pictures: Tensor, captions: Sequence[str], concept: Concept) -> Tensor:
        """Returns rewards (n,) of pictures (n, 3, H, W) in [-1, 1]."""
        from PIL import Image

        if self._encoder is None:
            self._encoder = _judge(self.kind, self.path)
            self._references = self._encoder.images([Image.open(p).convert("RGB") for p in concept.image_paths()])
        return torch.from_numpy((self._encoder.images(to_images(pictures)) @ self._references.T).mean(1))


@dataclass
class Following:
    """The cosine with the caption that names only the class, as CLIP-T scores it.

    Attributes:
        kind: of the encoder, as in `conf/dataset`.
        path: of its folder.
    """

    kind: str
    path: str
    _encoder: Any = field(default=None, repr=False)

    def __call__(self, pictures: Tensor, captions: Sequence[str], concept: Concept) -> Tensor:
        """Returns rewards (n,) of pictures (n, 3, H, W) in [-1, 1]."""
        self._encoder = self._encoder or _judge(self.kind, self.path)
        seen, text = self._encoder.images(to_images(pictures)), self._encoder.texts(captions)
        return torch.from_numpy((seen * text).sum(1))


def _judge(kind: str, path: str) -> Any:
    from bench.features import build

    return build({"kind": kind, "name": kind, "path": path})
