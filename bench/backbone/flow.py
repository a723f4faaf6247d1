"""What rectified flow transformers share: x_t = (1 − t) x_0 + t · noise, and the network predicts noise − x_0."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.backbone.base import Backbone
from bench.backbone.files import VARIANT
from bench.errors import BenchError


class Flow(Backbone):
    """Rectified flow (Liu et al. 2023), its times drawn and its sampler set as Esser et al. (2024) have it."""

    family: ClassVar[str] = "flow"
    prefix: ClassVar[str] = "transformer"

    @property
    def denoiser(self) -> Any:
        """The transformer."""
        return self.pipe.transformer

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns 1 − t and t: rectified flow."""
        sigma = t[:, None, None, None]
        return 1 - sigma, sigma

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns the velocity, noise − x_0."""
        return noise - x_0

    def clean(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """Returns x_t − t · v."""
        return x_t - t[:, None, None, None] * prediction

    def sample_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal times (Esser et al. 2024), shifted as the scheduler is."""
        t = torch.sigmoid(torch.randn(count, generator=generator))
        scheduler = self.pipe.scheduler
        if scheduler.config.use_dynamic_shifting:
            return scheduler.time_shift(self.shift(), 1.0, t)
        shift = scheduler.config.shift
        return shift * t / (1 + (shift - 1) * t)

    def shift(self) -> float:
        """Returns μ of the shift that goes with the model's resolution: linear in the number of its patches."""
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        config = self.pipe.scheduler.config
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        return float(calculate_shift(self.patches, *(config[n] for n in names)))

    @property
    def patches(self) -> int:
        """How many pieces the network sees a picture in."""
        return (self.latent_shape[1] // self.patch) ** 2

    def set_timesteps(self, scheduler: Any, steps: int) -> None:
        """Sets the sampler, shifted for the resolution where its config says so."""
        shifted = {"mu": self.shift()} if scheduler.config.use_dynamic_shifting else {}
        scheduler.set_timesteps(steps, **shifted)

    @property
    def latent_shift(self) -> float:
        """Where the autoencoder's latents are centred."""
        return float(self.pipe.vae.config.shift_factor)


def with_t5(tokenizer: Any, max_sequence_length: int, path: Path) -> None:
    """Has a T5's tokenizer read as many tokens as the pipeline is to give it.

    Raises:
        BenchError: none are said.
    """
    if max_sequence_length < 1:
        raise BenchError(f"model.max_sequence_length={max_sequence_length}: {path} has a T5; 256 or 512 would be right")
    tokenizer.model_max_length = max_sequence_length


def stored(path: Path) -> dict[str, torch.dtype]:
    """Returns the precision each of a pipeline's parts is stored in, as the header of its first file says.

    So loaded, a part takes no more memory than its files; `Backbone.place` then gives it the precision asked for.
    """
    from safetensors import safe_open

    found = {"default": torch.float32}
    weights = [p for p in path.glob("*/*.safetensors") if not VARIANT.search(p.name)]
    for part in sorted({p.parent for p in weights}):
        with safe_open(min(p for p in weights if p.parent == part), framework="pt") as file:
            # a batch normalization counts its batches in whole numbers
            kinds = (file.get_tensor(name).dtype for name in sorted(file.keys()))
            found[part.name] = next(kind for kind in kinds if kind.is_floating_point)
    return found
