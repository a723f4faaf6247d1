"""Stable Diffusion 3 and its kin: a flow transformer with two CLIP text towers (and T5 at real scale)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import fused
from bench.backbone.flow import Flow, stored, with_t5


class SD3(Flow):
    """A `StableDiffusion3Pipeline`; what it reads is CLIP's tokens, then T5's where it has one."""

    towers: tuple[tuple[str, str], ...] = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    # `attention` is what diffusers' own SD3 scripts train.
    kinds: ClassVar[dict[str, str]] = {
        "attention": r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "text_kv": r"attn\.(add_k_proj|add_v_proj)$",
        "text_attention": r"attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$",
        "not_text_attention": r"^(?!.*attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)$)",
        "transformer": r"transformer_blocks\.\d+\.(attn2?|ff|ff_context)\.",
        "all": r".",
    }

    def __init__(self, pipe: Any, max_sequence_length: int, resolution: int = 0) -> None:
        self.max_sequence_length = max_sequence_length
        if pipe.text_encoder_3 is not None:
            self.towers, self.read = (*self.towers, ("tokenizer_3", "text_encoder_3")), (0, 2)
        super().__init__(pipe, resolution)

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


def load(path: Path, max_sequence_length: int, lora: Path | None, resolution: int) -> SD3:
    """Loads a pipeline folder, its parts as they are stored; T5 only if it lies there."""
    from diffusers import StableDiffusion3Pipeline

    absent: dict[str, Any] = {} if (path / "text_encoder_3").exists() else {"text_encoder_3": None, "tokenizer_3": None}
    pipe = StableDiffusion3Pipeline.from_pretrained(
        path, local_files_only=True, use_safetensors=True, dtype=stored(path), **absent
    )
    if not absent:
        with_t5(pipe.tokenizer_3, max_sequence_length, path)
    return SD3(fused(pipe, lora), max_sequence_length, resolution)
