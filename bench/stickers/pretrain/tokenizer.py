"""A small byte-pair tokenizer in CLIP's file format, trained on the world's own captions."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import paths
from bench.stickers.world import loose_caption, sample_scene, world

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MAX_LENGTH = 24
VOCABULARY = 1024
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
# Words users and later methods write that no caption holds; here so that they are whole tokens too.
MORE_WORDS = [
    "photo", "picture", "image", "drawing", "style", "painting", "thing", "object", "animal", "food", "vehicle", "toy",
    "two", "three", "one", "small", "big", "in", "of", "the", "by", "no",
]  # fmt: skip


def corpus(count: int = 20_000) -> list[str]:
    """Returns captions of sampled scenes."""
    rng = np.random.default_rng(7)
    extra = [name for group in ("styles", "held_out_styles") for name, _ in world()[group].values()]
    return [loose_caption(sample_scene(rng), rng) for _ in range(count)] + (MORE_WORDS + extra) * 40


@functools.cache
def _learned() -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Returns the vocabulary and the merges; every folder of one process gets the same."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(unk_token=EOS, end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(corpus(), trainer)
    merges = [
        tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in json.loads(bpe.to_str())["model"]["merges"]
    ]
    # CLIP's order: bytes, bytes that end a word, merges, then the two special tokens.
    tokens = alphabet + [a + "</w>" for a in alphabet] + [a + b for a, b in merges]
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    for special in (BOS, EOS):
        vocabulary[special] = len(vocabulary)
    return vocabulary, merges


def _shipped() -> tuple[dict[str, int], list[tuple[str, ...]]] | None:
    """Returns the vocabulary and merges that ship, if they do: the library's trainer breaks ties as its hash maps
    fall, so that two trainings differ in the ids of rare pieces, and the towers know but one order.
    """
    folder = paths.weights() / "sticker-flow" / "tokenizer"
    if not (folder / "vocab.json").exists():
        return None
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return vocabulary, [tuple(m.split(" ")) for m in merges]


def train(folder: Path) -> CLIPTokenizer:
    """Writes the tokenizer's `vocab.json`, `merges.txt` and config into `folder`; trains it where none ships."""
    vocabulary, merges = _shipped() or _learned()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_LENGTH, "bos_token": BOS, "eos_token": EOS,
        "pad_token": EOS, "unk_token": EOS, "do_lower_case": True, "errors": "replace", "add_prefix_space": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    special_map = {k: config[k] for k in ("bos_token", "eos_token", "pad_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special_map, indent=2) + "\n")
    return load(folder)


def load(folder: Path) -> CLIPTokenizer:
    """Loads the tokenizer from its folder."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)
