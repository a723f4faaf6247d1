"""CLIP as a judge: through open_clip, and through transformers as preference models are published."""

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


class OpenClip(OfFolder):
    """A CLIP through open_clip; features are unit-length, so a dot product is the cosine (0–1 scale, no weights)."""

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        import open_clip

        where = f"local-dir:{self.folder}"
        model, preprocess = open_clip.create_model_from_pretrained(where, precision="fp32")
        return model.eval().to(self.device), preprocess, open_clip.get_tokenizer(where)

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length image features (n, d)."""
        import torch

        model, preprocess, _ = self._parts
        with torch.no_grad():
            x = torch.stack([preprocess(i) for i in images]).to(self.device)
            return model.encode_image(x, normalize=True).cpu().numpy()

    def texts(self, texts: Sequence[str]) -> Array:
        """Returns unit-length text features (n, d); the tokenizer truncates and keeps the end token."""
        import torch

        model, _, tokenizer = self._parts
        with torch.no_grad():
            return model.encode_text(tokenizer(list(texts)).to(self.device), normalize=True).cpu().numpy()


class Clip(OfFolder):
    """A CLIP through transformers (`CLIPModel`), as preference models are published; features are unit-length."""

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer, CLIPModel

        quiet_libraries()
        model = CLIPModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
        return model.float().eval().to(self.device), AutoTokenizer.from_pretrained(self.folder)

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length image features (n, d)."""
        import torch

        model, _ = self._parts
        with torch.no_grad():
            x = torch.from_numpy(as_trained(images, self.folder)).to(self.device)
            z = model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()

    def texts(self, texts: Sequence[str]) -> Array:
        """Returns unit-length text features (n, d); a text that is too long is cut and keeps its end."""
        import torch

        model, words = self._parts
        longest = model.config.text_config.max_position_embeddings
        with torch.no_grad():
            ids = words(list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
            z = model.text_projection(model.text_model(**ids.to(self.device)).pooler_output)
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()
