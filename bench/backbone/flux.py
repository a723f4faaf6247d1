"""FLUX.1: a flow transformer that reads T5's tokens and CLIP's pooled vector, and is told its guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import fused
from bench.backbone.flow import Flow, stored, with_t5

PATCH = 2  # latents a side that go into one of the network's tokens


class Flux(Flow):
    """A `FluxPipeline`; x_t stays (n, C, h, w), and is packed into patches of 2×2 only for the network.

    FLUX.1-dev is guidance-distilled: `guidance_scale` is what the network is told when it draws, and no second
    prediction is made. It trains at 1, as diffusers' own DreamBooth scripts do. A FLUX without that input is guided
    as any other model: `true_cfg_scale` of the stock pipeline, with the empty prompt.
    """

    towers: tuple[tuple[str, str], ...] = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    read = (1,)
    begins: ClassVar[bool] = False
    # Text has weights of its own in the first blocks only; in the `single` ones it shares the picture's. `attention`
    # is every block's, as in the other families; diffusers' scripts add the feed-forward layers of the first blocks.
    kinds: ClassVar[dict[str, str]] = {
        "attention": r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "text_kv": r"attn\.(add_k_proj|add_v_proj)$",
        "text_attention": r"attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "not_text_attention": r"^(?!.*attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$)",
        "transformer": r"transformer_blocks\.\d+\.(attn\.|ff\.|ff_context\.|proj_mlp$|proj_out$)",
        "all": r".",
    }

    def __init__(self, pipe: Any, max_sequence_length: int, resolution: int = 0) -> None:
        self.max_sequence_length = max_sequence_length
        super().__init__(pipe, resolution)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The shape (C, h, w) of one picture's latents; the network's config states no side, but its pipeline does."""
        side = self.resolution // self.pipe.vae_scale_factor or self.pipe.default_sample_size
        return self.denoiser.config.in_channels // PATCH**2, side, side

    @property
    def distilled(self) -> bool:
        """Whether the network is told its guidance, as FLUX.1-dev is."""
        return bool(self.denoiser.config.guidance_embeds)

    @property
    def patch(self) -> int:
        """Latents a side of what the network takes for one token; its config states that of what is packed."""
        return PATCH

    def set_timesteps(self, scheduler: Any, steps: int) -> None:
        """Sets the sampler to evenly spaced times 1 … 1/steps, shifted for the resolution where its config says so."""
        shifted = {"mu": self.shift()} if scheduler.config.use_dynamic_shifting else {}
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), **shifted)

    def _readers(self) -> list[nn.Module]:
        return [*self.denoiser.transformer_blocks, *self.denoiser.single_transformer_blocks]

    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        embeds, pooled, _ = self.pipe.encode_prompt(
            prompts, device=self.device, max_sequence_length=self.max_sequence_length
        )
        return embeds, pooled

    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        count, channels, height, width = x_t.shape
        place = self.pipe._prepare_latent_image_ids(count, height // PATCH, width // PATCH, x_t.device, x_t.dtype)
        out = self.denoiser(
            hidden_states=self.pipe._pack_latents(x_t, count, channels, height, width),
            timestep=t, guidance=torch.full_like(t, self.guidance) if self.distilled else None,
            pooled_projections=prompt.pooled, encoder_hidden_states=prompt.embeds,
            txt_ids=place.new_zeros(prompt.embeds.shape[1], 3), img_ids=place, return_dict=False,
        )[0]  # fmt: skip
        factor = self.pipe.vae_scale_factor
        return self.pipe._unpack_latents(out, factor * height, factor * width, factor)


def load(path: Path, max_sequence_length: int, lora: Path | None, resolution: int) -> Flux:
    """Loads a pipeline folder, its parts as they are stored: in float32 they take 68 GB of memory."""
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(path, local_files_only=True, use_safetensors=True, dtype=stored(path))
    with_t5(pipe.tokenizer_2, max_sequence_length, path)
    return Flux(fused(pipe, lora), max_sequence_length, resolution)
