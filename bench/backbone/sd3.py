"""Stable Diffusion 3 and its kin: a flow transformer with two CLIP text towers (and T5 at real scale)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from bench.backbone.base import Backbone, PromptEmbeds
from bench.backbone.token import ConceptToken, RowSwitch
from bench.errors import BenchError


class SD3(Backbone):
    """A `StableDiffusion3Pipeline`. Prediction is the velocity `noise − x_0`; time t is sigma in (0, 1)."""

    family: ClassVar[str] = "flow"

    def __init__(self, pipe: Any, max_sequence_length: int) -> None:
        super().__init__(pipe)
        self.max_sequence_length = max_sequence_length
        self.encoders = [pipe.text_encoder, pipe.text_encoder_2]
        self._plain = [copy.deepcopy(t) for t in (pipe.tokenizer, pipe.tokenizer_2)]
        self.switches = [RowSwitch(e.get_input_embeddings(), i) for i, e in enumerate(self.encoders)]
        self._kept: dict[str, PromptEmbeds] = {}
        self._slots: Tensor | None = None
        for index, block in enumerate(pipe.transformer.transformer_blocks):
            block.register_forward_pre_hook(self._layerwise_hook(index), with_kwargs=True)

    @classmethod
    def load(cls, path: Path, max_sequence_length: int) -> SD3:
        """Loads a pipeline folder in float32 (its weights may be stored in half precision)."""
        from diffusers import StableDiffusion3Pipeline

        absent: dict[str, Any] = (
            {} if (path / "text_encoder_3").exists() else {"text_encoder_3": None, "tokenizer_3": None}
        )
        pipe = StableDiffusion3Pipeline.from_pretrained(path, local_files_only=True, use_safetensors=True, **absent)
        return cls(pipe.to(torch.float32), max_sequence_length)

    @property
    def denoiser(self) -> Any:
        """The transformer."""
        return self.pipe.transformer

    @property
    def tokenizers(self) -> list[Any]:
        """The tokenizers of both towers; placeholders are added to them as they are used."""
        return [self.pipe.tokenizer, self.pipe.tokenizer_2]

    def clear(self) -> None:
        """Takes everything off again; a placeholder's text is then read as any other text."""
        super().clear()
        self.pipe.tokenizer, self.pipe.tokenizer_2 = (copy.deepcopy(t) for t in self._plain)

    # --- prompts -------------------------------------------------------------------------------

    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encodes prompts as the stock pipeline does; those without a concept's word are kept.

        Without a gradient each prompt is encoded alone, so that its last bits depend on no other.
        """
        named = [p for p in dict.fromkeys(prompts) if self._named(p)]
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._kept and prompt not in named:
                with torch.no_grad():
                    self._kept[prompt] = self._encode([prompt])
        alone = not torch.is_grad_enabled()
        fresh = [self._encode([p]) for p in named] if alone else [self._encode(named)] if named else []
        encoded = PromptEmbeds.cat(fresh) if fresh else None
        return PromptEmbeds.cat(
            [encoded[[named.index(p)]] if encoded is not None and p in named else self._kept[p] for p in prompts]
        )

    def _named(self, prompt: str) -> bool:
        return any(t.text in prompt for t in self.tokens.values())

    def _encode(self, prompts: Sequence[str]) -> PromptEmbeds:
        for switch, tokenizer in zip(self.switches, self.tokenizers, strict=True):
            switch.active = self._placeholders(tokenizer, switch.index)
        try:
            embeds, _, pooled, _ = self.pipe.encode_prompt(
                list(prompts),
                None,
                None,
                do_classifier_free_guidance=False,
                max_sequence_length=self.max_sequence_length,
            )
        finally:
            for switch in self.switches:
                switch.active = {}
        slots = torch.zeros(embeds.shape[:2], dtype=torch.bool)
        for token in self.active_tokens():
            if token.layers is not None:
                ids = self.tokenizers[0](
                    list(prompts), padding="max_length", truncation=True, return_tensors="pt"
                ).input_ids
                slots[:, : ids.shape[1]] |= ids == self.tokenizers[0].convert_tokens_to_ids(token.text)
        return PromptEmbeds(embeds, pooled, slots)

    def _placeholders(self, tokenizer: Any, index: int) -> dict[int, tuple[int, Tensor | None]]:
        used = {t.text: t for t in self.active_tokens()}
        out: dict[int, tuple[int, Tensor | None]] = {}
        for token in self.tokens.values():
            tokenizer.add_tokens([token.text])
            chosen = used.get(token.text, token)
            init = tokenizer(chosen.init, add_special_tokens=False).input_ids[0]
            row = chosen.rows[index] if token.text in used and chosen.rows else None
            out[tokenizer.convert_tokens_to_ids(token.text)] = (init, row)
        return out

    def new_token(self, text: str, init: str, layerwise: bool) -> ConceptToken:
        """Returns a trainable token that starts at the init word (its first piece).

        Layer-wise vectors start at the states the init word itself has before each block.
        """
        ids = [t(init, add_special_tokens=False).input_ids for t in self.tokenizers]
        if not ids[0]:
            raise BenchError(f"token {text}: the word it starts from, {init!r}, has no token; any word would be right")
        if layerwise:
            return ConceptToken(text, init, layers=nn.Parameter(self._states_of(init)))
        rows = [
            nn.Parameter(e.get_input_embeddings().weight[i[0]].detach().clone())
            for e, i in zip(self.encoders, ids, strict=True)
        ]
        return ConceptToken(text, init, rows=rows)

    @torch.no_grad()
    def _states_of(self, word: str) -> Tensor:
        """Returns the word's mean context state before every block, (blocks, width), over four times."""
        seen: list[Tensor] = []
        handles = [
            b.register_forward_pre_hook(
                lambda m, a, k: seen.append(k["encoder_hidden_states"][:, 2].mean(0)), with_kwargs=True
            )
            for b in self.denoiser.transformer_blocks
        ]
        side = self.denoiser.config.sample_size
        noise = torch.randn(4, self.denoiser.config.in_channels, side, side, generator=torch.Generator().manual_seed(0))
        try:
            self.predict(noise, torch.tensor([0.2, 0.4, 0.6, 0.8]), self.encode_prompts([f"a {word}"] * 4))
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(seen)

    def _layerwise_hook(self, index: int) -> Any:
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if self._slots is not None:
                states = kwargs["encoder_hidden_states"]
                for token in self.active_tokens():
                    if token.layers is not None:
                        states = torch.where(self._slots[..., None], token.layers[index].to(states.dtype), states)
                kwargs["encoder_hidden_states"] = states
            return args, kwargs

        return hook

    # --- prediction and noise ------------------------------------------------------------------

    def predict(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        """Returns the velocity at x_t (n, C, H, W) and sigma t (n,)."""
        self._slots = prompt.slots if bool(prompt.slots.any()) else None
        try:
            return self.denoiser(
                hidden_states=x_t, timestep=1000 * t, encoder_hidden_states=prompt.embeds,
                pooled_projections=prompt.pooled, return_dict=False,
            )[0]  # fmt: skip
        finally:
            self._slots = None

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Rectified flow: x_t = (1 − t) x_0 + t · noise, target = noise − x_0."""
        return torch.lerp(x_0, noise, t[:, None, None, None]), noise - x_0

    def sample_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal times (Esser et al. 2024), shifted as the scheduler is."""
        t = torch.sigmoid(torch.randn(count, generator=generator))
        shift = self.pipe.scheduler.config.shift
        return shift * t / (1 + (shift - 1) * t)

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Returns the scaled latents (n, C, h, w) of pictures, each cut to the model's own square."""
        side = self.denoiser.config.sample_size * self.pipe.vae_scale_factor
        upright = [ImageOps.exif_transpose(i).convert("RGB") for i in images]
        square = [ImageOps.fit(i, (side, side), Image.Resampling.LANCZOS) for i in upright]
        x = self.pipe.image_processor.preprocess(square)
        z = self.pipe.vae.encode(x).latent_dist.mean
        return (z - self.pipe.vae.config.shift_factor) * self.pipe.vae.config.scaling_factor

    # --- sampling ------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> list[Image.Image]:
        """Makes one picture a prompt through the stock pipeline, each from its own generator."""
        told, empty = self.encode_prompts(prompts), self.encode_prompts([""] * len(prompts))
        slots = torch.cat([empty.slots, told.slots]) if guidance_scale > 1 else told.slots
        self._slots = slots if bool(slots.any()) else None
        try:
            return self.pipe(
                prompt_embeds=told.embeds, pooled_prompt_embeds=told.pooled,
                negative_prompt_embeds=empty.embeds, negative_pooled_prompt_embeds=empty.pooled,
                generator=[torch.Generator().manual_seed(s) for s in seeds],
                num_inference_steps=steps, guidance_scale=guidance_scale, output_type="pil",
                max_sequence_length=self.max_sequence_length,
            ).images  # fmt: skip
        finally:
            self._slots = None
