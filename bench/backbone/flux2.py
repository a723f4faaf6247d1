"""FLUX.2-klein: a flow transformer that reads inner layers of a language model, its prompt being a chat's message."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from bench.backbone.chat import LAYERS, ChatPrompts
from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import fused
from bench.backbone.flow import Flow, stored
from bench.backbone.prompts import Prompts
from bench.errors import BenchError

PATCH = 2  # latents of the autoencoder a side that are one of the network's
MANY = 200  # steps: the most that the pipeline's shift was fitted to


class Flux2Klein(Flow):
    """A `Flux2KleinPipeline`; x_t is (n, C, h, w) of the network's own latents, each 2×2 of the autoencoder's.

    A step-distilled klein takes no guidance, whatever it is given, as in the stock pipeline; the base models are guided
    as any other model, with the empty prompt. What it reads begins as every chat does.
    """

    towers: tuple[tuple[str, str], ...] = (("tokenizer", "text_encoder"),)
    texts: ClassVar[type[Prompts]] = ChatPrompts
    prompts: ChatPrompts
    # Text has weights of its own in the first blocks only. In the `single` ones queries, keys, values and the
    # feed-forward layer are one matrix. `attention` is what diffusers' own script trains.
    kinds: ClassVar[dict[str, str]] = {
        "attention": r"attn\.(to_q|to_k|to_v|to_out\.0|to_qkv_mlp_proj|to_out)$",
        "text_kv": r"attn\.(add_k_proj|add_v_proj)$",
        "text_attention": r"attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "not_text_attention": r"^(?!.*attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$)",
        "transformer": r"transformer_blocks\.\d+\.(attn|ff|ff_context)\.",
        "all": r".",
    }

    def __init__(self, pipe: Any, max_sequence_length: int, resolution: int = 0) -> None:
        layers = pipe.text_encoder.config.num_hidden_layers
        if layers < max(LAYERS):
            raise BenchError(f"model.path: its text_encoder has {layers} layers; {max(LAYERS)} or more would be right")
        pipe.tokenizer.model_max_length = max_sequence_length
        super().__init__(pipe, resolution)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The shape (C, h, w) of one picture's latents; the network's config states no side, but its pipeline does."""
        side = self.resolution // self.pipe.vae_scale_factor or self.pipe.default_sample_size
        return self.denoiser.config.in_channels, side // PATCH, side // PATCH

    @property
    def patch(self) -> int:
        """Latents of the autoencoder a side that go into one of the network's tokens."""
        return PATCH

    @property
    def patches(self) -> int:
        """How many pieces the network sees a picture in: each of its latents."""
        return self.latent_shape[1] ** 2

    @property
    def pixels(self) -> int:
        """Pixels a side of one picture."""
        return self.latent_shape[1] * PATCH * self.pipe.vae_scale_factor

    @property
    def distilled(self) -> bool:
        """Whether guidance is in the network already, which then makes one prediction a step."""
        return bool(self.pipe.config.is_distilled)

    def shift(self, steps: int = MANY) -> float:
        """Returns μ of the shift that goes with a number of patches and of steps; training times have none of these.

        They take that of many steps, which is the line FLUX.1 has.
        """
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        return compute_empirical_mu(self.patches, steps)

    def set_timesteps(self, scheduler: Any, steps: int) -> None:
        """Sets the sampler as the stock pipeline does, shifted the further the fewer the steps are."""
        mu = self.shift(steps)
        if getattr(scheduler.config, "use_flow_sigmas", False):
            scheduler.set_timesteps(steps, mu=mu)
        else:
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)

    def _to_latents(self, z: Tensor) -> Tensor:
        mean, std = self._statistics()
        return (self.pipe._patchify_latents(z) - mean) / std

    def _from_latents(self, x_0: Tensor) -> Tensor:
        mean, std = self._statistics()
        z: Tensor = self.pipe._unpatchify_latents(x_0 * std + mean)
        return z

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Returns mean and deviation (1, C, 1, 1) of the latents, which the autoencoder keeps."""
        norm = self.pipe.vae.bn
        mean, variance = (v.to(self.device).float().view(1, -1, 1, 1) for v in (norm.running_mean, norm.running_var))
        return mean, (variance + self.pipe.vae.config.batch_norm_eps).sqrt()

    def _readers(self) -> list[nn.Module]:
        return list(self.denoiser.transformer_blocks)  # the single ones are handed text and picture as one

    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        embeds = self.prompts.layers(prompts).to(self.device)
        return embeds, embeds.new_zeros(len(prompts), 0)

    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        place, order = self.pipe._prepare_latent_ids(x_t[:1]), self.pipe._prepare_text_ids(prompt.embeds[:1])
        out: Tensor = self.denoiser(
            hidden_states=x_t.flatten(2).transpose(1, 2), timestep=t, guidance=None,
            encoder_hidden_states=prompt.embeds, txt_ids=order.to(x_t.device), img_ids=place.to(x_t.device),
            return_dict=False,
        )[0]  # fmt: skip
        return out.transpose(1, 2).reshape(x_t.shape)


def load(path: Path, max_sequence_length: int, lora: Path | None, resolution: int) -> Flux2Klein:
    """Loads a pipeline folder, its parts as they are stored.

    Raises:
        BenchError: it is not said how many tokens are read.
    """
    from diffusers import Flux2KleinPipeline

    if max_sequence_length < 1:
        raise BenchError(
            f"model.max_sequence_length={max_sequence_length}: {path} has a language model; 512 would be right"
        )
    pipe = Flux2KleinPipeline.from_pretrained(path, local_files_only=True, use_safetensors=True, dtype=stored(path))
    return Flux2Klein(fused(pipe, lora), max_sequence_length, resolution)
