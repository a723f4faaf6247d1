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


def sdxl_folder(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Writes a StableDiffusionXLPipeline with a random U-Net beside the embedded world's towers and autoencoder."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from bench.backbone.files import resolve

    flow = resolve("embedded:sticker-flow")
    first = CLIPTextModel.from_pretrained(flow / "text_encoder")
    second = CLIPTextModelWithProjection.from_pretrained(flow / "text_encoder_2")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=first.config.hidden_size + second.config.hidden_size, attention_head_dim=(2, 4),
        norm_num_groups=8, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + second.config.projection_dim,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1,
        prediction_type=prediction_type,
    )  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        unet=unet, vae=AutoencoderKL.from_pretrained(flow / "vae"), scheduler=scheduler, text_encoder=first,
        tokenizer=CLIPTokenizer.from_pretrained(flow / "tokenizer"), text_encoder_2=second,
        tokenizer_2=CLIPTokenizer.from_pretrained(flow / "tokenizer_2"), add_watermarker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flow_folder(folder: Path, t5: bool = False) -> Path:
    """Writes a StableDiffusion3Pipeline with a random transformer beside the embedded world's other parts.

    With `t5` it has a random T5 as its third tower, and the layers of Stable Diffusion 3.5 medium.
    """
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
        pos_embed_max_size=16, **({"dual_attention_layers": (0,), "qk_norm": "rms_norm"} if t5 else {}),
    )  # fmt: skip
    towers = [CLIPTextModelWithProjection.from_pretrained(shipped / f"text_encoder{n}") for n in ("", "_2")]
    tokenizers = [CLIPTokenizer.from_pretrained(shipped / f"tokenizer{n}") for n in ("", "_2")]
    third, tokenizer_3 = t5_of(folder, 320) if t5 else (None, None)
    pipe = StableDiffusion3Pipeline(
        transformer=transformer, vae=AutoencoderKL.from_pretrained(shipped / "vae"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0), text_encoder=towers[0], tokenizer=tokenizers[0],
        text_encoder_2=towers[1], tokenizer_2=tokenizers[1], text_encoder_3=third, tokenizer_3=tokenizer_3,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flux_folder(folder: Path, guidance_embeds: bool = True) -> Path:
    """Writes a FluxPipeline with a random transformer and T5 beside the embedded world's other parts.

    Its own square is 512 pixels a side, its pipeline's; `resolution: 64` suits its autoencoder.
    """
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from bench.backbone.files import resolve

    flow = resolve("embedded:sticker-flow")
    second, tokenizer_2 = t5_of(folder, 32)
    tower = CLIPTextModel.from_pretrained(flow / "text_encoder")
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=4 * 8, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=tower.config.hidden_size, guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    pipe = FluxPipeline(
        transformer=transformer, vae=AutoencoderKL.from_pretrained(flow / "vae"), text_encoder=tower,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        tokenizer=CLIPTokenizer.from_pretrained(flow / "tokenizer"), text_encoder_2=second, tokenizer_2=tokenizer_2,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def flux2_folder(folder: Path, is_distilled: bool = False) -> Path:
    """Writes a Flux2KleinPipeline of random parts, its tokenizer made of the embedded world's words.

    Its own square is 512 pixels a side, its pipeline's; `resolution: 64` and 40 tokens suit the embedded world.
    """
    import torch
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = chat_tokenizer()
    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        in_channels=4 * 4, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * 16, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    for name, weight in transformer.named_parameters():
        if "transformer_blocks" in name and weight.ndim == 2:
            weight.data.mul_(2.5)  # or the words hardly show in eight bits
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3, layers_per_block=1,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=4, sample_size=64,
    )  # fmt: skip
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    # the pipeline reads the states of layers 9, 18 and 27
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=28, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=512, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.2,
    )  # fmt: skip
    pipe = Flux2KleinPipeline(
        transformer=transformer, vae=vae, text_encoder=Qwen3ForCausalLM(config).eval(), tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), is_distilled=is_distilled,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


# A user's message, and the start of an answer without thinking, as Qwen3's template writes them.
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def chat_tokenizer() -> Any:
    """Returns a byte-level tokenizer of Qwen's class that has the embedded world's words as single tokens.

    A word is merged from its left, the ones that follow a space first: no training, whose ties fall as they may.
    """
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer, Qwen2TokenizerFast

    from bench.backbone.files import resolve

    clip = CLIPTokenizer.from_pretrained(resolve("embedded:sticker-flow") / "tokenizer").get_vocab()
    words = sorted(w.removesuffix("</w>") for w in clip if w.endswith("</w>") and w[:-4].isalpha())
    whole = [*(f"Ġ{w}" for w in words), "ĊĊ", "user", "assistant", *words]
    merges = dict.fromkeys((w[:k], w[k]) for w in whole for k in range(1, len(w)))
    pieces = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)])
    marks = {"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]}
    tokenizer = Qwen2TokenizerFast(
        vocab={p: i for i, p in enumerate(pieces)}, merges=list(merges), model_max_length=512, chat_template=CHAT,
        **marks,
    )  # fmt: skip
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


def t5_of(folder: Path, width: int) -> tuple[Any, Any]:
    """Returns a random T5 encoder of a width, and a tokenizer of the embedded world's words made here."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

    from bench.backbone.files import resolve

    clip = CLIPTokenizer.from_pretrained(resolve("embedded:sticker-flow") / "tokenizer").get_vocab()
    words = sorted(f"▁{w.removesuffix('</w>')}" for w in clip if w.endswith("</w>") and w[:-4].isalpha())
    letters = [chr(c) for c in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(w, -3.0) for w in words] + [(c, -9.0) for c in letters if c not in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    )
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "t5.json"))
    made = T5TokenizerFast(tokenizer_file=str(folder / "t5.json"), extra_ids=0, model_max_length=512)
    (folder / "t5.json").unlink()
    torch.manual_seed(1)
    config = T5Config(vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval(), made
