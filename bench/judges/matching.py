"""Judges that look at a picture and a text together: BLIP-2 and BLIP-1 through transformers.

ClassDiffusion's "BLIP2-T" is BLIP-2 in the paper and BLIP-1 in the released code; neither stands for the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.judges.folder import OfFolder
from bench.pictures import as_trained
from bench.progress import quiet_libraries

if TYPE_CHECKING:
    import torch
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]

MAX_TOKENS = 64


def clean(text: str) -> str:
    """Returns a caption as LAVIS reads it: lower case, without punctuation, at most 50 words."""
    text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    return " ".join(re.sub(r"\s{2,}", " ", text).strip().split(" ")[:50])


class _Matcher(OfFolder):
    """What both judges share: the folder, the pixels and the words.

    Attributes:
        columns: what `pairs` returns for a pair.
    """

    columns: tuple[str, ...]

    def _build(self, folder: Path) -> Any:
        raise NotImplementedError

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer

        quiet_libraries()
        model = self._build(self.folder).float().eval().to(self.device)
        return model, AutoTokenizer.from_pretrained(self.folder)

    def _pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        import torch

        return torch.from_numpy(as_trained(images, self.folder)).to(self.device)

    def _words(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        _, tokenizer = self._parts
        longest = min(tokenizer.model_max_length, MAX_TOKENS)
        words = tokenizer(
            [clean(t) for t in texts], padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        return words.input_ids.to(self.device), words.attention_mask.to(self.device)


class Blip2(_Matcher):
    """BLIP-2's Q-Former (`Blip2ForImageTextRetrieval`): matching probability and contrastive cosine."""

    columns = ("itm", "itc")

    def _build(self, folder: Path) -> Any:
        from transformers import Blip2ForImageTextRetrieval

        return Blip2ForImageTextRetrieval.from_pretrained(folder, local_files_only=True, use_safetensors=True)

    def pairs(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Array:
        """Returns (n, 2) of n pictures and their n texts.

        ITM is the probability that they match, one softmax over the mean logits of the queries; ITC the
        largest cosine of a query with the text (Li et al. 2023; LAVIS `blip2_image_text_matching`).
        """
        import torch

        model, _ = self._parts
        ids, mask = self._words(texts)
        with torch.no_grad():
            seen = model.vision_model(pixel_values=self._pixels(images)).last_hidden_state
            queries = model.query_tokens.expand(len(seen), -1, -1)
            count = queries.shape[1]
            picture = model.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
            words = model.qformer(query_embeds=model.embeddings(input_ids=ids), query_length=0, attention_mask=mask)
            image = torch.nn.functional.normalize(model.vision_projection(picture), dim=-1)
            text = torch.nn.functional.normalize(model.text_projection(words.last_hidden_state[:, 0]), dim=-1)
            itc = torch.einsum("nqd,nd->nq", image, text).amax(1)
            both = model.qformer(
                query_embeds=model.embeddings(input_ids=ids, query_embeds=queries),
                query_length=count,
                attention_mask=torch.cat([mask.new_ones(len(seen), count), mask], 1),
                encoder_hidden_states=seen,
            ).last_hidden_state[:, :count]
            itm = model.itm_head(both).mean(1).softmax(-1)[:, 1]
        return torch.stack([itm, itc], 1).cpu().numpy()


class Blip1(_Matcher):
    """BLIP-1 (`BlipForImageTextRetrieval`): contrastive cosine, what ClassDiffusion's released code measures."""

    columns = ("itc",)

    def _build(self, folder: Path) -> Any:
        from transformers import BlipForImageTextRetrieval

        return BlipForImageTextRetrieval.from_pretrained(folder, local_files_only=True, use_safetensors=True)

    def pairs(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Array:
        """Returns (n, 1): the cosine of n pictures with their n texts, no temperature."""
        import torch

        model, _ = self._parts
        ids, mask = self._words(texts)
        with torch.no_grad():
            picture = model.vision_model(pixel_values=self._pixels(images)).last_hidden_state[:, 0]
            words = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            image = torch.nn.functional.normalize(model.vision_proj(picture), dim=-1)
            text = torch.nn.functional.normalize(model.text_proj(words), dim=-1)
        return (image * text).sum(-1, keepdim=True).cpu().numpy()
