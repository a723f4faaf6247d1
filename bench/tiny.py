"""Random-weight pipelines of the true classes, small enough to train in seconds; behind no score, ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODEL: dict[str, Any] = {"name": "tiny", "steps": 3, "guidance_scale": 3.0, "batch_size": 8}


def unet_folder(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Writes a StableDiffusionPipeline with a random U-Net beside the embedded world's text tower and autoencoder."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from bench.backbone.files import resolve

    flow = resolve("embedded:sticker-flow")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128, attention_head_dim=2, norm_num_groups=8,
    )  # fmt: skip
    tower = CLIPTextModel.from_pretrained(flow / "text_encoder")
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, timestep_spacing="trailing", prediction_type=prediction_type,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        unet=unet, vae=AutoencoderKL.from_pretrained(flow / "vae"), text_encoder=tower, scheduler=scheduler,
        tokenizer=CLIPTokenizer.from_pretrained(flow / "tokenizer"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flow_folder(folder: Path) -> Path:
    """Writes a StableDiffusion3Pipeline with a random transformer beside the embedded world's other parts."""
    import torch
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    from bench.backbone.files import resolve

    shipped = resolve("embedded:sticker-flow")
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=4, in_channels=8, out_channels=8, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=320, caption_projection_dim=32, pooled_projection_dim=256,
        pos_embed_max_size=16,
    )  # fmt: skip
    towers = [CLIPTextModelWithProjection.from_pretrained(shipped / f"text_encoder{n}") for n in ("", "_2")]
    tokenizers = [CLIPTokenizer.from_pretrained(shipped / f"tokenizer{n}") for n in ("", "_2")]
    pipe = StableDiffusion3Pipeline(
        transformer=transformer, vae=AutoencoderKL.from_pretrained(shipped / "vae"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0), text_encoder=towers[0], tokenizer=tokenizers[0],
        text_encoder_2=towers[1], tokenizer_2=tokenizers[1], text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder
