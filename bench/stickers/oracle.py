"""The truth about a picture: the oracle's reading of it, and how far the oracle itself can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import paths
from bench.progress import track
from bench.stickers.world import ATTRIBUTES, Scene, names

if TYPE_CHECKING:
    from PIL import Image

    from bench.backbone.base import Backbone

STRENGTH = 0.35  # of the noise a rendering is redrawn from: what it shows survives, its texture does not
SEED = 990_004


def read(images: list[Image.Image]) -> dict[str, list[str]]:
    """Returns what the oracle sees: attribute → its value in each picture."""
    import torch

    from bench.stickers.pretrain import oracle
    from bench.stickers.pretrain.data import to_tensor

    model = oracle.load(paths.weights() / "oracle")
    with torch.no_grad():
        logits = [model(to_tensor(images[i : i + 64])) for i in range(0, len(images), 64)]
    return {a: [names(a)[k] for part in logits for k in part[a].argmax(-1).tolist()] for a in ATTRIBUTES}


def accuracy(scenes: list[Scene], seen: dict[str, list[str]]) -> dict[str, tuple[float, int]]:
    """Returns attribute → (share read as asked, how many asked); an absent colour or accessory is not asked."""
    out = {}
    for attribute in ATTRIBUTES:
        asked = [
            (getattr(s, attribute), v)
            for s, v in zip(scenes, seen[attribute], strict=True)
            if getattr(s, attribute) != "none"
        ]
        out[attribute] = (sum(a == b for a, b in asked) / len(asked), len(asked))
    return out


def redrawn(network: Backbone, config: dict[str, Any], scenes: list[Scene]) -> list[Image.Image]:
    """Returns renderings as a model redraws them from partial noise, unprompted.

    They look generated, and what they show is known: how well the oracle reads them is how well it reads
    generated pictures.
    """
    import torch

    from bench.backbone.sample import Guided, classifier_free, denoise, generators, scheduler_of, start
    from bench.stickers.render import render

    images: list[Image.Image] = []
    size, no_guidance = config["batch_size"], classifier_free(1.0)
    for i in track(range(0, len(scenes), size), "redrawing", -(-len(scenes) // size)):
        part = scenes[i : i + size]
        scheduler = scheduler_of(network, config["steps"])
        begin = int((scheduler.timesteps / 1000 > STRENGTH).sum())
        t = (scheduler.timesteps[begin].float() / 1000).expand(len(part))
        each = generators([SEED + i + k for k in range(len(part))])
        x_t, _ = network.add_noise(network.encode_images([render(s) for s in part]), start(network, each), t)
        guided = Guided(network, no_guidance, [""] * len(part), [])
        with torch.no_grad():
            x = denoise(network, x_t, guided, scheduler, begin=begin, generator=each)
            images += network.pipe.image_processor.postprocess(network.decode(x), output_type="pil")
    return images
