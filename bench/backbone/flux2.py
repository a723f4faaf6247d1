"""FLUX.2-klein: a flow transformer that reads inner layers of a language model, its prompt being a chat's message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.backbone.files import fused
from bench.backbone.flow import Flow, stored
from bench.backbone.prompts import PromptEmbeds, Prompts
from bench.errors import BenchError

PATCH = 2  # latents of the autoencoder a side that are one of the network's
LAYERS = (9, 18, 27)  # of the language model, read side by side: the stock pipeline's own
SPACE = "Ġ"  # what byte-level tokenizers write in front of a word that follows a space


class ChatPrompts(Prompts):
    """Prompts as a language model reads them: each the first message of a chat, in the tokenizer's own template.

    A word after a space is another token than the same word without one. Words are taken as they stand within a
    sentence, and a placeholder takes the space before it along, as any word does.
    """

    def ids(self, prompts: Sequence[str], tower: int = 0) -> Tensor:
        """Returns token ids (n, length) of whole chats, padded."""
        return self._read(prompts)[0]

    def pieces(self, text: str, tower: int = 0) -> list[int]:
        """Returns the token ids of words as they stand within a sentence; of nothing, none."""
        return super().pieces(self._joined(f" {text}"), tower) if text.strip() else []

    def words(self) -> list[str]:
        """Returns the vocabulary's whole words, those in small letters as a CLIP's all are."""
        known = (t.removeprefix(SPACE) for t in self.tokenizers[0].get_vocab() if t.startswith(SPACE))
        return sorted(w for w in known if w.isalpha() and w.isascii() and w.islower())

    def layers(self, prompts: Sequence[str]) -> Tensor:
        """Returns the states (n, length, layers · width) the network reads; no next word is worked out."""
        ids, mask = self._read(prompts)
        states = self.encoders[0].model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        ).hidden_states  # fmt: skip
        return torch.stack([states[k] for k in LAYERS], 2).flatten(2)

    def _last(self, prompts: Sequence[str], tower: int) -> tuple[Tensor, Tensor]:
        """Returns ids and last states; zeros where a prompt is padded, which is most of it and says nothing of it."""
        ids, mask = self._read(prompts)
        last = self.encoders[tower].model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return ids, last.float() * mask[..., None]

    def _read(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns token ids and attention mask, (n, length) both, where the tower is."""
        tokenizer = self.tokenizers[0]
        chats = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for p in prompts
        ]
        read = tokenizer(
            [self._joined(c) for c in chats], padding="max_length", truncation=True, return_tensors="pt"
        ).to(self.encoders[0].device)  # fmt: skip
        return read.input_ids, read.attention_mask

    def _joined(self, text: str) -> str:
        """Returns a text without the spaces before placeholders: each would be a token of its own."""
        for placeholder in set(self.tokenizers[0].get_added_vocab()) - set(self._plain[0].get_added_vocab()):
            text = text.replace(f" {placeholder}", placeholder)
        return text


class Flux2Klein(Flow):
    """A `Flux2KleinPipeline`; x_t is (n, C, h, w) of the network's own latents, each 2×2 of the autoencoder's.

    A step-distilled klein takes no guidance, whatever it is given, as in the stock pipeline; the base models are guided
    as any other model, with the empty prompt.
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

    def set_timesteps(self, scheduler: Any, steps: int) -> None:
        """Sets the sampler as the stock pipeline does, shifted the further the fewer the steps are.

        Training times have no number of steps. They are shifted by `shift`, which is what this arrives at with 200.
        """
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        mu = compute_empirical_mu(self.patches, steps)
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
