"""Stable Diffusion 3 and its kin: a flow transformer with two CLIP text towers (and T5 at real scale)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.backbone.base import Backbone
from bench.backbone.files import fused
from bench.backbone.prompts import PromptEmbeds


class SD3(Backbone):
    """A `StableDiffusion3Pipeline`: x_t = (1 − t) x_0 + t · noise, and the network predicts noise − x_0."""

    family: ClassVar[str] = "flow"
    towers: ClassVar = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    prefix: ClassVar[str] = "transformer"
    # `attention` is what diffusers' own SD3 scripts train.
    kinds: ClassVar[dict[str, str]] = {
        "attention": r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "text_kv": r"attn\.(add_k_proj|add_v_proj)$",
        "text_attention": r"attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "not_text_attention": r"^(?!.*attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$)",
        "transformer": r"transformer_blocks\.\d+\.(attn|ff|ff_context)\.",
        "all": r".",
    }

    def __init__(self, pipe: Any, max_sequence_length: int) -> None:
        self.max_sequence_length = max_sequence_length
        super().__init__(pipe)

    @classmethod
    def load(cls, path: Path, max_sequence_length: int, lora: Path | None = None) -> SD3:
        """Loads a pipeline folder in float32 (its weights may be stored in half precision)."""
        from diffusers import StableDiffusion3Pipeline

        absent: dict[str, Any] = (
            {} if (path / "text_encoder_3").exists() else {"text_encoder_3": None, "tokenizer_3": None}
        )
        pipe = StableDiffusion3Pipeline.from_pretrained(path, local_files_only=True, use_safetensors=True, **absent)
        return cls(fused(pipe.to(torch.float32), lora), max_sequence_length)

    @property
    def denoiser(self) -> Any:
        """The transformer."""
        return self.pipe.transformer

    def _readers(self) -> list[nn.Module]:
        return list(self.denoiser.transformer_blocks)

    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            prompts,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length,
        )
        return embeds, pooled

    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        return self.denoiser(
            hidden_states=x_t, timestep=1000 * t, encoder_hidden_states=prompt.embeds,
            pooled_projections=prompt.pooled, return_dict=False,
        )[0]  # fmt: skip

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
        shift = self.pipe.scheduler.config.shift
        return shift * t / (1 + (shift - 1) * t)

    @property
    def latent_shift(self) -> float:
        """Where the autoencoder's latents are centred."""
        return float(self.pipe.vae.config.shift_factor)
