"""Turns prompts into what the denoiser reads, with learned words in them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bench.backbone.embeds import PromptEmbeds
from bench.backbone.token import ConceptToken, RowSwitch
from bench.errors import BenchError

MOST = 2**30  # bytes of encoded prompts that are kept
Key = tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]


class Prompts:
    """The text side of a pipeline: its towers, their tokenizers and the concepts' words.

    Args:
        pipe: the pipeline.
        towers: the attributes of its tokenizers and encoders, in the order the pipeline reads them.
        embed: the pipeline's own encoding, prompts → embeds, pooled.
        read: the towers whose tokens, one after the other, are the tokens of embeds.
    """

    def __init__(
        self, pipe: Any, towers: Sequence[tuple[str, str]], embed: Callable[[list[str]], tuple[Tensor, Tensor]],
        read: Sequence[int] = (0,),
    ) -> None:  # fmt: skip
        self.pipe, self.towers, self._embed, self.read = pipe, towers, embed, read
        self.encoders = [getattr(pipe, encoder) for _, encoder in towers]
        self._plain = [copy.deepcopy(t) for t in self.tokenizers]
        self.switches = [RowSwitch(_embedding(e), i) for i, e in enumerate(self.encoders)]
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            _end_at(encoder, tokenizer.eos_token_id)
        self._kept: dict[Key | None, PromptEmbeds] = {}
        self._bytes = 0  # of what is kept
        # brings the towers to their work, for a block, where they lie elsewhere; told whether they are to stay
        self.at_work: Callable[[bool], AbstractContextManager[None]] = lambda stay: nullcontext()

    @property
    def tokenizers(self) -> list[Any]:
        """The tokenizers; placeholders are added to them as they are used."""
        return [getattr(self.pipe, tokenizer) for tokenizer, _ in self.towers]

    def forget(self) -> None:
        """Forgets what was encoded, as when the towers are moved."""
        self._kept.clear()
        self._bytes = 0

    def clear(self) -> None:
        """Forgets the placeholders: their text is then read as any other text."""
        for (name, _), plain in zip(self.towers, self._plain, strict=True):
            setattr(self.pipe, name, copy.deepcopy(plain))

    def encode(
        self, prompts: Sequence[str], known: Sequence[ConceptToken], used: Sequence[ConceptToken]
    ) -> PromptEmbeds:
        """Encodes prompts as the stock pipeline does; those that no learned row is in are kept.

        Each prompt is encoded alone, so that its last bits depend on no other; with a gradient those that name a word
        are encoded together. A layer-wise word has no rows: what is encoded says where it stands, and stays the same
        while it trains.

        Args:
            prompts: texts.
            known: every word on the backbone; one that is not in use reads as its init word.
            used: the words in use; a gradient reaches those that train.
        """
        every = list(dict.fromkeys(prompts))
        named = tuple(p for p in every if any(t.text in p for t in known))
        alone = [(p,) for p in every if p not in named or not torch.is_grad_enabled()]
        groups = [*alone, *([named] if torch.is_grad_enabled() and named else [])]
        keys = [_key(g, known, used) for g in groups]
        found: dict[str, PromptEmbeds] = {}
        with self.at_work(_trains(used)) if any(k not in self._kept for k in keys) else nullcontext():
            for group, key in zip(groups, keys, strict=True):
                whole = self._kept.get(key) or self._made(group, key, known, used)
                found |= {p: whole[[i]] for i, p in enumerate(group)}
        return PromptEmbeds.cat([found[p] for p in prompts])

    def _made(
        self, group: Sequence[str], key: Key | None, known: Sequence[ConceptToken], used: Sequence[ConceptToken]
    ) -> PromptEmbeds:
        """Encodes prompts together, and keeps them where they have a key; the oldest go where it is too much."""
        if key is None:
            return self._encode(group, known, used)
        with torch.no_grad():
            self._kept[key] = encoded = self._encode(group, known, used)
        self._bytes += encoded.embeds.nbytes
        while self._bytes > MOST and len(self._kept) > 1:
            self._bytes -= self._kept.pop(next(iter(self._kept))).embeds.nbytes
        return encoded

    def _encode(
        self, prompts: Sequence[str], known: Sequence[ConceptToken], used: Sequence[ConceptToken]
    ) -> PromptEmbeds:
        with _Switched(self, known, used):
            embeds, pooled = self._embed(list(prompts))
            slots = torch.zeros(embeds.shape[:2], dtype=torch.long)
            for k, token in enumerate((t for t in used if t.layers is not None), start=1):
                begin = 0
                for tower in self.read:
                    ids = self.ids(prompts, tower)
                    here = ids == self.tokenizers[tower].convert_tokens_to_ids(token.text)
                    slots[:, begin : begin + ids.shape[1]][here] = k
                    begin += ids.shape[1]
        return PromptEmbeds(embeds, pooled, slots.to(embeds.device))

    def ids(self, prompts: Sequence[str], tower: int = 0) -> Tensor:
        """Returns token ids (n, length) as a tower reads them, padded."""
        return self.tokenizers[tower](
            list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids

    def pieces(self, text: str, tower: int = 0) -> list[int]:
        """Returns the token ids of words alone, without what begins and ends a text."""
        ids: list[int] = self.tokenizers[tower](text, add_special_tokens=False).input_ids
        return ids

    def words(self) -> list[str]:
        """Returns the whole words of the first tower's vocabulary, in order."""
        known = (t.removesuffix("</w>") for t in self.tokenizers[0].get_vocab() if t.endswith("</w>"))
        return sorted(w for w in known if w.isalpha() and w.isascii())

    def place(self, start: str, text: str) -> int:
        """Returns where, among the tokens the denoiser reads, `text` first differs from its beginning `start`."""
        ids = self.ids([start, text], self.read[0])
        return int((ids[0] != ids[1]).int().argmax())

    def states(
        self, prompts: Sequence[str], known: Sequence[ConceptToken], used: Sequence[ConceptToken]
    ) -> list[tuple[Tensor, Tensor]]:
        """Returns each tower's ids (n, length) and last hidden states (n, length, width), float32, with gradients."""
        with self.at_work(_trains(used)), _Switched(self, known, used):
            return [self._last(prompts, tower) for tower in range(len(self.encoders))]

    def _last(self, prompts: Sequence[str], tower: int) -> tuple[Tensor, Tensor]:
        encoder = self.encoders[tower]
        ids = self.ids(prompts, tower).to(encoder.device)
        return ids, encoder(ids).last_hidden_state.float()

    def placeholders(
        self, index: int, known: Sequence[ConceptToken], used: Sequence[ConceptToken]
    ) -> dict[int, tuple[int, Tensor | None]]:
        """Returns a tower's placeholders: id → the init word's id, and the learned row or None."""
        tokenizer = self.tokenizers[index]
        out: dict[int, tuple[int, Tensor | None]] = {}
        for token in known:
            tokenizer.add_tokens([token.text])
            active = next((t for t in used if t.text == token.text), None)
            init = self.pieces((active or token).init, index)[0]
            row = active.rows[index] if active is not None and active.rows else None
            out[tokenizer.convert_tokens_to_ids(token.text)] = (init, row)
        return out

    def new_rows(self, text: str, init: str, device: torch.device) -> ConceptToken:
        """Returns a trainable word with one float32 row a tower that starts at the init word (its first piece)."""
        ids = [self.pieces(init, tower) for tower in range(len(self.towers))]
        if not ids[0]:
            raise BenchError(f"token {text}: the word it starts from, {init!r}, has no token; any word would be right")
        rows = [
            nn.Parameter(_embedding(e).weight[i[0]].detach().clone().to(device).float())
            for e, i in zip(self.encoders, ids, strict=True)
        ]
        return ConceptToken(text, init, rows=rows)


def _embedding(encoder: Any) -> Any:
    """Returns the token embedding that an encoder reads through; a T5's own is a tied copy it does not use."""
    stack: Any = getattr(encoder, "encoder", None)
    return stack.embed_tokens if hasattr(stack, "embed_tokens") else encoder.get_input_embeddings()


def _end_at(encoder: Any, end: int) -> None:
    """Has a CLIP pool at the end of its text. Published folders state the id 2, which transformers takes for "the
    largest id there is" (CLIPTextModel, before its PR 24773): that would be a placeholder's.
    """
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == 2:
            module.eos_token_id = end


def _key(prompts: tuple[str, ...], known: Sequence[ConceptToken], used: Sequence[ConceptToken]) -> Key | None:
    """Returns what encoded prompts depend on; nothing where a learned row is in one of them."""
    here = tuple((t.text, t.init) for t in known if any(t.text in p for p in prompts))
    words = [text for text, _ in here]
    if any(t.rows and t.text in words for t in used):
        return None
    return prompts, here, tuple(t.text for t in used if t.layers is not None) if here else ()


def _trains(used: Sequence[ConceptToken]) -> bool:
    """Whether a gradient is to pass the towers."""
    return torch.is_grad_enabled() and any(row.requires_grad for token in used for row in token.rows)


class _Switched:
    """Puts the rows of the words in use into every tower for a block of code."""

    def __init__(self, prompts: Prompts, known: Sequence[ConceptToken], used: Sequence[ConceptToken]) -> None:
        self._prompts, self._known, self._used = prompts, known, used

    def __enter__(self) -> None:
        for switch in self._prompts.switches:
            switch.active = self._prompts.placeholders(switch.index, self._known, self._used)

    def __exit__(self, *_: object) -> None:
        for switch in self._prompts.switches:
            switch.active = {}
