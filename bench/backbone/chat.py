"""Turns prompts into what a language model reads: each the first message of a chat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.backbone.prompts import Prompts

LAYERS = (9, 18, 27)  # whose states are read side by side: the stock pipeline's own
SPACE = "Ġ"  # what byte-level tokenizers write in front of a word that follows a space


class ChatPrompts(Prompts):
    """The text side of a pipeline whose one tower is a language model, with the tokenizer's own chat template.

    A word after a space is another token than the same word without one. Words are taken as they stand within a
    sentence, and a placeholder takes the space before it along, as any word does.
    """

    def ids(self, prompts: Sequence[str], tower: int = 0) -> Tensor:
        """Returns token ids (n, length) of whole chats, padded."""
        return self._read(prompts)[0]

    def pieces(self, text: str, tower: int = 0) -> list[int]:
        """Returns the token ids of words as they stand within a sentence; of nothing, none."""
        return super().pieces(self._joined(f" {text}"), tower) if text.strip() else []

    def words(self) -> list[str]:
        """Returns the vocabulary's whole words, those in small letters as a CLIP's all are."""
        known = (t.removeprefix(SPACE) for t in self.tokenizers[0].get_vocab() if t.startswith(SPACE))
        return sorted(w for w in known if w.isalpha() and w.isascii() and w.islower())

    def layers(self, prompts: Sequence[str]) -> Tensor:
        """Returns the states (n, length, layers · width) that the denoiser reads; no next word is worked out."""
        ids, mask = self._at_tower(prompts)
        states = self.encoders[0].model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        ).hidden_states  # fmt: skip
        return torch.stack([states[k] for k in LAYERS], 2).flatten(2)

    def _last(self, prompts: Sequence[str], tower: int) -> tuple[Tensor, Tensor]:
        """Returns ids and last states; zeros where a prompt is padded, which is most of it and says nothing of it."""
        ids, mask = self._at_tower(prompts)
        last = self.encoders[tower].model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return ids, last.float() * mask[..., None]

    def _at_tower(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids, mask = self._read(prompts)
        return ids.to(self.encoders[0].device), mask.to(self.encoders[0].device)

    def _read(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns token ids and attention mask, (n, length) both."""
        tokenizer = self.tokenizers[0]
        chats = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for p in prompts
        ]
        joined = [self._joined(c) for c in chats]
        read = tokenizer(joined, padding="max_length", truncation=True, return_tensors="pt")
        return read.input_ids, read.attention_mask

    def _joined(self, text: str) -> str:
        """Returns a text without the spaces before placeholders: each would be a token of its own."""
        for placeholder in set(self.tokenizers[0].get_added_vocab()) - set(self._plain[0].get_added_vocab()):
            text = text.replace(f" {placeholder}", placeholder)
        return text
