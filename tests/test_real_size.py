"""The published sizes: the benchmark's networks have them to the last number, and adapters find their modules there."""

from __future__ import annotations

import re

import pytest
import torch
from real_size import MODELS

from bench.backbone.base import Backbone
from bench.backbone.flux import Flux
from bench.backbone.flux2 import Flux2Klein
from bench.backbone.sd import SD
from bench.backbone.sd3 import SD3
from bench.backbone.sdxl import SDXL

# Numbers of the denoiser; modules of attention: blocks × (queries, keys, values, output), twice where text has its own.
PUBLISHED = {
    "sd15": (SD, 859_520_964, 16 * 8, 16 * 2),
    "sdxl": (SDXL, 2_567_463_684, 70 * 8, 70 * 2),
    "sd35-medium": (SD3, 2_243_171_520, 24 * 8 - 1, 24 * 2),  # the last block reads the text, and writes none
    "flux-dev": (Flux, 11_901_408_320, 19 * 8 + 38 * 3, 19 * 2),
    "flux2-klein-base-4b": (Flux2Klein, 3_875_544_576, 5 * 4 + 20 * 2, 5 * 2),  # as diffusers trains it, not the text's
}


@pytest.mark.filterwarnings("ignore:.*is outdated")
@pytest.mark.parametrize("name", MODELS)
def test_a_network_of_real_size_is_the_published_one(name: str) -> None:
    cls, numbers, attention, text = PUBLISHED[name]
    made = MODELS[name][0]("meta", torch.bfloat16)
    network: torch.nn.Module = made.components.get("unet") or made.transformer
    assert sum(p.numel() for p in network.parameters()) == numbers
    assert (_found(cls, network, "attention"), _found(cls, network, "text_kv")) == (attention, text)


def _found(cls: type[Backbone], network: torch.nn.Module, kind: str) -> int:
    return sum(
        bool(re.search(cls.kinds[kind], n))
        for n, m in network.named_modules()
        if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)
    )
