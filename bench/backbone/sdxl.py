"""Stable Diffusion XL: a U-Net with two CLIP text towers side by side, and told of its picture's size and crop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import fused
from bench.backbone.sd import SD, Velocity


class SDXL(SD):
    """A `StableDiffusionXLPipeline`, told that pictures are whole: their own size, nothing cropped (section 2.2).

    It reads both towers' penultimate states, joined by width, and the second's pooled vector. The empty prompt is
    zeros where the pipeline's config says so (`force_zeros_for_empty_prompt`), as it was trained and is guided.
    """

    towers: tuple[tuple[str, str], ...] = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))

    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        embeds, _, pooled, _ = self.pipe.encode_prompt(prompts, device=self.device, do_classifier_free_guidance=False)
        if self.pipe.config.force_zeros_for_empty_prompt:
            said = torch.tensor([bool(p) for p in prompts]).to(embeds)
            embeds, pooled = embeds * said[:, None, None], pooled * said[:, None]
        return embeds, pooled

    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        side = self.latent_shape[1] * self.pipe.vae_scale_factor
        size = torch.tensor([side, side, 0, 0, side, side]).to(prompt.pooled)
        told = {"text_embeds": prompt.pooled, "time_ids": size.repeat(len(x_t), 1)}
        return self.denoiser(
            x_t, self._steps(t), encoder_hidden_states=prompt.embeds, added_cond_kwargs=told, return_dict=False
        )[0]


class SDXLVelocity(SDXL, Velocity):
    """An SDXL that predicts v."""


def load(path: Path, max_sequence_length: int, lora: Path | None, resolution: int) -> SDXL:
    """Loads a pipeline folder in float32 (its weights may be stored in half precision)."""
    from diffusers import StableDiffusionXLPipeline

    pipe: Any = StableDiffusionXLPipeline.from_pretrained(
        path, local_files_only=True, use_safetensors=True, add_watermarker=False
    )
    made = SDXLVelocity if pipe.scheduler.config.prediction_type == "v_prediction" else SDXL
    return made(fused(pipe.to(torch.float32), lora), resolution)
