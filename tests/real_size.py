"""Pipelines of the sizes that are published, with random weights made where they are to run; for benchmarks alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

SIXTEEN = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "projection_dim": 768}  # fmt: skip
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
          "projection_dim": 1280, "hidden_act": "gelu"}  # fmt: skip


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _tokenizer() -> Any:
    """Returns the embedded world's tokenizer: any words do."""
    from transformers import CLIPTokenizer

    from bench.backbone.files import resolve

    return CLIPTokenizer.from_pretrained(resolve("embedded:sticker-flow") / "tokenizer")


def _tower(config: dict[str, Any], projected: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = _tokenizer()
    said = CLIPTextConfig(**config, vocab_size=len(words), bos_token_id=words.bos_token_id,
                          eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(said)


def _vae(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, sample_size=512, **more,
    )  # fmt: skip


def _ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                         steps_offset=1)  # fmt: skip


def sd15(device: str, dtype: torch.dtype) -> Any:
    """Stable Diffusion 1.5: the U-Net's defaults are its configuration, but for the width of the text."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    with _made_on(device, dtype):
        unet, vae = UNet2DConditionModel(sample_size=64, cross_attention_dim=768), _vae()
        tower = _tower(CLIP_L, projected=False)
    return StableDiffusionPipeline(
        unet=unet, vae=vae, text_encoder=tower, tokenizer=_tokenizer(), scheduler=_ddim(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl(device: str, dtype: torch.dtype) -> Any:
    """Stable Diffusion XL."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    with _made_on(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048, use_linear_projection=True,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(5, 10, 20),
            transformer_layers_per_block=(1, 2, 10), addition_embed_type="text_time", addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )  # fmt: skip
        vae, towers = _vae(scaling_factor=0.13025), [_tower(CLIP_L, False), _tower(CLIP_G, True)]
    return StableDiffusionXLPipeline(
        unet=unet, vae=vae, text_encoder=towers[0], text_encoder_2=towers[1], tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(), scheduler=_ddim(), add_watermarker=False,
    )  # fmt: skip


def sd35(device: str, dtype: torch.dtype) -> Any:
    """Stable Diffusion 3.5 medium, without its T5."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    with _made_on(device, dtype):
        transformer = SD3Transformer2DModel(
            sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
            num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048,
            pos_embed_max_size=384, dual_attention_layers=tuple(range(13)), qk_norm="rms_norm",
        )  # fmt: skip
        vae = _vae(scaling_factor=1.5305, shift_factor=0.0609, **SIXTEEN)
        towers = [_tower(CLIP_L, True), _tower(CLIP_G, True)]
    return StableDiffusion3Pipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=towers[0], tokenizer=_tokenizer(), text_encoder_2=towers[1], tokenizer_2=_tokenizer(),
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def flux(device: str, dtype: torch.dtype) -> Any:
    """FLUX.1 dev: the transformer's defaults are its configuration; of the T5 two of 24 blocks, it is not measured."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    with _made_on(device, dtype):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
        vae = _vae(scaling_factor=0.3611, shift_factor=0.1159, **SIXTEEN)
        t5 = T5EncoderModel(T5Config(d_model=4096, d_kv=64, d_ff=10240, num_layers=2, num_heads=64))
        tower = _tower(CLIP_L, projected=False)
    return FluxPipeline(
        transformer=transformer, vae=vae, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), text_encoder=tower,
        tokenizer=_tokenizer(), text_encoder_2=t5, tokenizer_2=_tokenizer(),
    )  # fmt: skip


def klein(device: str, dtype: torch.dtype) -> Any:
    """FLUX.2-klein 4B, the base model; of its language model's layers all that are read, their inner widths small."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen3Config, Qwen3ForCausalLM

    words = _tokenizer()
    words.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with _made_on(device, dtype):
        transformer = Flux2Transformer2DModel(
            num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=3 * 2560,
            guidance_embeds=False,
        )  # fmt: skip
        tower = Qwen3ForCausalLM(Qwen3Config(
            vocab_size=len(words), hidden_size=2560, intermediate_size=64, num_hidden_layers=28, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, pad_token_id=words.pad_token_id,
        ))  # fmt: skip
        vae = AutoencoderKLFlux2()
    return Flux2KleinPipeline(
        transformer=transformer, vae=vae, text_encoder=tower, tokenizer=words,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )  # fmt: skip


# name → its pipeline, and the module of bench.backbone that reads it
MODELS: dict[str, tuple[Callable[[str, torch.dtype], Any], str]] = {
    "sd15": (sd15, "sd"), "sdxl": (sdxl, "sdxl"), "sd35-medium": (sd35, "sd3"), "flux-dev": (flux, "flux"),
    "flux2-klein-base-4b": (klein, "flux2"),
}  # fmt: skip


def tiny(folder: Path) -> dict[str, tuple[Callable[[str, torch.dtype], Any], str]]:
    """Returns the same of the small random pipelines of the tests, to try the benchmark's own code."""
    from diffusers import (
        Flux2KleinPipeline,
        FluxPipeline,
        StableDiffusion3Pipeline,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
    )

    from bench.contract.tiny import flow_folder, flux2_folder, flux_folder, sdxl_folder, unet_folder

    def read(cls: Any, path: Path, **more: Any) -> Callable[[str, torch.dtype], Any]:
        return lambda device, dtype: cls.from_pretrained(path, local_files_only=True, **more).to(device, dtype)

    no_t5 = {"text_encoder_3": None, "tokenizer_3": None}
    return {
        "tiny-unet": (read(StableDiffusionPipeline, unet_folder(folder / "unet"), safety_checker=None), "sd"),
        "tiny-flow": (read(StableDiffusion3Pipeline, flow_folder(folder / "flow"), **no_t5), "sd3"),
        "tiny-sdxl": (read(StableDiffusionXLPipeline, sdxl_folder(folder / "sdxl"), add_watermarker=False), "sdxl"),
        "tiny-flux": (read(FluxPipeline, flux_folder(folder / "flux")), "flux"),
        "tiny-klein": (read(Flux2KleinPipeline, flux2_folder(folder / "klein")), "flux2"),
    }
