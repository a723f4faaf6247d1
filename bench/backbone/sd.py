"""Stable Diffusion 1 and 2: a U-Net with one CLIP text tower that predicts the noise, or v (`Velocity`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.backbone.base import Backbone
from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import fused

STEPS = 1000  # of the discrete noise schedule


class SD(Backbone):
    """A `StableDiffusionPipeline`: x_t = √ᾱ x_0 + √(1 − ᾱ) noise at the discrete step nearest to 1000 t."""

    family: ClassVar[str] = "epsilon"
    towers: tuple[tuple[str, str], ...] = (("tokenizer", "text_encoder"),)
    prefix: ClassVar[str] = "unet"
    # `attention` is what diffusers' own LoRA scripts train, `text_kv` what Custom Diffusion trains, and
    # `transformer` where SPM's released code puts its membranes.
    kinds: ClassVar[dict[str, str]] = {
        "attention": r"attn[12]\.(to_q|to_k|to_v|to_out\.0)$",
        "text_kv": r"attn2\.(to_k|to_v)$",
        "text_attention": r"attn2\.(to_q|to_k|to_v|to_out\.0)$",
        "transformer": r"attentions\.\d+\.",
        "not_text_attention": r"^(?!.*attn2)",
        "all": r".",
    }

    @property
    def denoiser(self) -> Any:
        """The U-Net."""
        return self.pipe.unet

    def _readers(self) -> list[nn.Module]:
        return [m for n, m in self.denoiser.named_modules() if n.endswith("attn2")]

    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        embeds, _ = self.pipe.encode_prompt(prompts, self.device, 1, False)
        return embeds, embeds.new_zeros(len(prompts), 0)

    def _steps(self, t: Tensor) -> Tensor:
        return (STEPS * t).round().long().clamp(0, STEPS - 1)

    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        return self.denoiser(x_t, self._steps(t), encoder_hidden_states=prompt.embeds, return_dict=False)[0]

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns √ᾱ and √(1 − ᾱ) of the noise schedule."""
        alpha_bar = self.pipe.scheduler.alphas_cumprod.to(t.device)[self._steps(t)][:, None, None, None]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns the noise."""
        return noise

    def clean(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """Returns (x_t − σ ε) / α."""
        alpha, sigma = self.alpha_sigma(t)
        return (x_t - sigma * prediction) / alpha

    def sample_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform steps (Ho et al. 2020)."""
        return torch.randint(STEPS, (count,), generator=generator) / STEPS

    @property
    def latent_shift(self) -> float:
        """None: Stable Diffusion 1 and 2 only scale."""
        return 0.0


class Velocity(SD):
    """A U-Net that predicts v = α noise − σ x_0 (Salimans & Ho 2022), as Stable Diffusion 2.1 does."""

    family: ClassVar[str] = "v"

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns α noise − σ x_0."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * noise - sigma * x_0

    def clean(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """Returns α x_t − σ v."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x_t - sigma * prediction


def load(path: Path, max_sequence_length: int, lora: Path | None, resolution: int) -> SD:
    """Loads a pipeline folder in float32 (its weights may be stored in half precision)."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        path, local_files_only=True, use_safetensors=True, safety_checker=None, requires_safety_checker=False
    )
    made = Velocity if pipe.scheduler.config.prediction_type == "v_prediction" else SD
    return made(fused(pipe.to(torch.float32), lora), resolution)
