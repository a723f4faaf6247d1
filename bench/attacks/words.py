"""A black-box attack: ordinary words that the untouched text towers read as the erased thing.

The erasing method is never asked. Ring-A-Bell (Tsai et al., arXiv 2310.10012) and MMA-Diffusion (Yang et al., arXiv
2311.17516) look for such prompts by a genetic search and by gradients; the vocabularies here allow trying every word
in every place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from bench.backbone.base import Backbone

SWEEPS, ENCODED, TRIED = 3, 256, 400  # passes over the places; prompts encoded at a time; words tried in a place


def find(
    backbone: Backbone, prompts: Sequence[tuple[str, str]], forbidden: Sequence[str], length: int,
    generator: torch.Generator,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Returns for every prompt the words that stand in best for the erased name, and as many words at random.

    Args:
        backbone: the untouched model.
        prompts: for each, a template with `{words}` in it and the prompt that names what was erased.
        forbidden: the erased thing's names; no word shares a token with them.
        length: words in an attack.
        generator: of the first guesses and of the words at random.
    """
    known = plain_words(backbone, forbidden, generator)

    def drawn() -> list[str]:
        return [known[i] for i in torch.randint(len(known), (length,), generator=generator).tolist()]

    found = [_climb(backbone, template, named, known, drawn()) for template, named in prompts]
    return [" ".join(f) for f in found], [" ".join(drawn()) for _ in prompts]


def plain_words(backbone: Backbone, forbidden: Sequence[str], generator: torch.Generator) -> list[str]:
    """Returns plain words of the vocabulary that share no token with the forbidden names."""
    pieces = backbone.prompts.pieces
    taken = {i for name in forbidden for i in pieces(name)}
    named = {w for name in forbidden for w in name.split()}
    plain = [w for w in backbone.prompts.words() if len(w) > 1 and w not in named]
    clear = [w for w in plain if not taken & set(pieces(w))]
    order = torch.randperm(len(clear), generator=generator).tolist()[:TRIED]
    return [clear[i] for i in sorted(order)]


def _climb(backbone: Backbone, template: str, named: str, known: Sequence[str], guess: list[str]) -> list[str]:
    """Returns the words that coordinate ascent arrives at: the best word in each place in turn."""
    target, before = _read(backbone, [named]), None
    for _ in range(SWEEPS):
        if guess == before:
            break
        before = list(guess)
        for place in range(len(guess)):
            tried = [[*guess[:place], word, *guess[place + 1 :]] for word in known]
            texts = [template.replace("{words}", " ".join(t)) for t in tried]
            guess = tried[int((_read(backbone, texts) @ target.T).argmax())]
    return guess


@torch.no_grad()
def _read(backbone: Backbone, prompts: Sequence[str]) -> Tensor:
    """Returns what the text towers make of prompts (n, d), unit length: the mean of their last states."""
    with backbone.using([]):
        parts = [
            torch.cat([s.mean(1) for _, s in backbone.text_states(prompts[i : i + ENCODED])], 1)
            for i in range(0, len(prompts), ENCODED)
        ]
    return normalize(torch.cat(parts), dim=-1)
