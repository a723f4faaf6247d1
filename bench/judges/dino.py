"""DINO as a judge: what two pictures show alike, without words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.backbone.files import check_files, fingerprint, resolve
from bench.pictures import as_trained
from bench.progress import quiet_libraries

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]


class Dino:
    """A DINO ViT through transformers; the feature is the class token."""

    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.folder = name, resolve(path)
        check_files(self.folder)
        self.fingerprint = fingerprint(self.folder)
        self._model: Any = None

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length class-token features (n, d)."""
        import torch

        if self._model is None:
            from transformers import AutoConfig, AutoModel

            quiet_libraries()
            config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
            plain = {"add_pooling_layer": False} if config.model_type == "vit" else {}  # DINOv2 has none
            self._model = AutoModel.from_pretrained(
                self.folder, config=config, local_files_only=True, use_safetensors=True, **plain
            )
            self._model.float().eval().to(self.device)
        with torch.no_grad():
            x = torch.from_numpy(as_trained(images, self.folder)).to(self.device)
            z = self._model(pixel_values=x).last_hidden_state[:, 0]
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()
