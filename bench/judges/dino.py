"""DINO as a judge: what two pictures show alike, without words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.judges.folder import OfFolder
from bench.pictures import as_trained
from bench.progress import quiet_libraries

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]


class Dino(OfFolder):
    """A DINO ViT through transformers; the feature is the class token."""

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoConfig, AutoModel

        quiet_libraries()
        config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
        plain = {"add_pooling_layer": False} if config.model_type == "vit" else {}  # DINOv2 has none
        model = AutoModel.from_pretrained(
            self.folder, config=config, local_files_only=True, use_safetensors=True, **plain
        )
        return model.float().eval().to(self.device)

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length class-token features (n, d)."""
        import torch

        with torch.no_grad():
            x = torch.from_numpy(as_trained(images, self.folder)).to(self.device)
            z = self._model(pixel_values=x).last_hidden_state[:, 0]
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()
