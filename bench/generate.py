"""Prompt grid → pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.progress import track

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.grid import Cell, PromptGrid


def generate(
    backbone: Backbone, grid: PromptGrid, folder: Path, *, complete: bool, steps: int, guidance_scale: float,
    batch_size: int, label: str, **rules: Any,
) -> None:  # fmt: skip
    """Makes every picture of the grid that the folder does not hold yet.

    Args:
        backbone: the model, with an adapter applied or not.
        grid: what to make.
        folder: where `<channel>-<prompt>-<seed>.png` go, and `manifest.json` at the end.
        complete: whether to ask with the concept's token (the customized model) or without it (the base model).
        steps: denoising steps.
        guidance_scale: classifier-free guidance.
        batch_size: pictures at a time; no picture depends on it by more than rounding.
        label: what the progress bar says.
        rules: of guidance and gates, as `bench.backbone.sample` has them.
    """
    # A batch with a missing picture is made whole again: the last bits of a picture depend on what it
    # was computed with, and a resumed run must give what an uninterrupted one gives.
    whole = [grid.cells[i : i + batch_size] for i in range(0, len(grid.cells), batch_size)]
    batches = [b for b in whole if not all((folder / f"{c.key}.png").exists() for c in b)]

    def made(batch: list[Cell]) -> int:
        prompts = [c.prompt.complete if complete else c.prompt.base for c in batch]
        base = [c.prompt.base for c in batch]
        seeds = [c.noise_seed() for c in batch]
        images = backbone.sample(prompts, seeds, steps, guidance_scale, base=base, **rules)
        for cell, image in zip(batch, images, strict=True):
            partial = folder / f".{cell.key}.partial"
            image.save(partial, format="PNG")
            partial.replace(folder / f"{cell.key}.png")
        return len(batch)

    done = len(whole) - len(batches)
    for _ in track((made(b) for b in batches), label, len(whole), done):
        pass
    manifest = [{"file": f"{c.key}.png", **c.prompt.model_dump(), "seed": c.seed} for c in grid.cells]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
