"""What the untouched model makes for trainings, the class's pictures and anchors: made by the first that asks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan import Plan, Training, weights_of
from bench.stage_keys import imagined_parts
from bench.store import Store, key_of

if TYPE_CHECKING:
    from torch import Tensor


class Imagined:
    """Finds what one training asks of the untouched model, in the store or by making it (`bench.draws.Kept`).

    Args:
        plan: of the run.
        training: the one that asks.
        store: where it is kept.
        device: where the model runs.

    Attributes:
        peak: the memory that making it took, in MiB, whoever made it.
        waited: the seconds that passed here until it was there.
    """

    def __init__(self, plan: Plan, training: Training, store: Store, device: str) -> None:
        self.plan, self.training, self.store, self.device = plan, training, store, device
        self._weights = weights_of(plan.model_folder, plan.model_lora)
        self.peak, self.waited = 0.0, 0.0

    def __call__(self, stage: str, prompts: Sequence[str], make: Callable[[], Tensor]) -> tuple[Tensor, float]:
        """Returns clean latents (n, C, h, w) on the CPU, and the seconds that making them took."""
        from safetensors.torch import load_file

        begun = time.monotonic()
        parts = imagined_parts(self.plan.config, self._weights, self.training.beneath, stage, prompts)
        key = key_of(parts)

        def made(folder: Path) -> None:
            from safetensors.torch import save_file

            from bench.memory import peak_memory

            with peak_memory(self.device) as peak:
                latents = make().cpu().contiguous()
                (folder / "peak.json").write_text(json.dumps(peak()))
            save_file({"latents": latents}, folder / "latents.safetensors")

        self.store.once("imagined", key, {"stage": stage, "prompts": list(dict.fromkeys(prompts))}, made)
        folder = self.store.path("imagined", key)
        self.peak = max(self.peak, float(json.loads((folder / "peak.json").read_text())))
        latents = load_file(folder / "latents.safetensors")["latents"]
        self.waited += time.monotonic() - begun
        return latents, self.store.seconds("imagined", key) or 0.0
