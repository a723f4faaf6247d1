"""CSD: how alike two pictures are in style (Somepalli et al. 2024, arXiv 2404.01292)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError
from bench.judges.folder import OfFolder

if TYPE_CHECKING:
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
HEAD = 64  # width of an attention head in every CLIP ViT
WEIGHTS = "model.safetensors"


class Csd(OfFolder):
    """CLIP's vision tower fine-tuned for style, with the projection of its style head.

    The folder holds the authors' checkpoint as safetensors: `backbone.*` in OpenAI's names, `last_layer_style`. Every
    size is read from the weights. Pictures are resized and cut as CLIP's, which is how the released code reads them.
    """

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name, path)
        if not (self.folder / WEIGHTS).is_file():
            raise BenchError(f"{self.folder / WEIGHTS}: no such file; CSD's weights go there")

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        tower, style = _read(self.folder / WEIGHTS)
        return tower.to(self.device), style.to(self.device)

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length style features (n, d)."""
        import torch

        tower, style = self._parts
        with torch.no_grad():
            z = tower(torch.from_numpy(_pixels(images, tower.image_size[0])).to(self.device)) @ style
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()


def _read(path: Path) -> tuple[Any, Any]:
    """Returns the tower without a projection, and the style head's, (width, d)."""
    from open_clip.transformer import QuickGELU, VisionTransformer
    from safetensors.torch import load_file

    state = {k.removeprefix("module."): v.float() for k, v in load_file(path).items()}
    own = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    try:
        width, _, patch, _ = own["conv1.weight"].shape
        side = round((len(own["positional_embedding"]) - 1) ** 0.5) * patch
        layers = 1 + max(int(k.split(".")[2]) for k in own if k.startswith("transformer.resblocks."))
        style = state["last_layer_style"]
        tower = VisionTransformer(
            image_size=side, patch_size=patch, width=width, layers=layers, heads=max(width // HEAD, 1), mlp_ratio=4.0,
            output_dim=style.shape[1], act_layer=QuickGELU,
        )  # fmt: skip
        tower.proj = None
        tower.load_state_dict(own)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BenchError(f"{path}: not CSD's weights: {str(error).splitlines()[0]}") from None
    return tower.eval(), style


def _pixels(images: Sequence[Image.Image], side: int) -> Array:
    """Returns (n, 3, side, side): the short side resized, the middle cut out, CLIP's mean and deviation taken off."""
    from PIL import Image

    def seen(image: Image.Image) -> Array:
        short = side / min(image.size)
        size = (max(side, int(image.width * short)), max(side, int(image.height * short)))
        resized = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
        return np.asarray(resized.crop((left, top, left + side, top + side)), np.float32) / np.float32(255)

    x: Array = np.stack([seen(i) for i in images])
    x = ((x - np.array(MEAN)) / np.array(STD)).astype(np.float32)
    return x.transpose(0, 3, 1, 2)
