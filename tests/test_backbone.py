"""The flow backbone on the shipped model: words, layers, LoRA, and pictures that depend on nothing but their seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench import backbone
from bench.adapter import Adapter, Lora
from bench.backbone.base import Backbone
from bench.backbone.files import resolve
from bench.errors import BenchError

PROMPT = "a cartoon of a <new1> cat on the beach"


@pytest.fixture(scope="module")
def flow() -> Backbone:
    return backbone.load("flow", resolve("embedded:sticker-flow"), max_sequence_length=0)


@pytest.fixture(autouse=True)
def _cleared(flow: Backbone) -> None:
    flow.clear()


def noise(n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 8, 16, 16, generator=torch.Generator().manual_seed(3)), torch.linspace(0.3, 0.7, n)


def stock_pipeline() -> Any:
    """The shipped folder through diffusers alone, as its documentation loads a pipeline without T5."""
    from diffusers import StableDiffusion3Pipeline

    folder = resolve("embedded:sticker-flow")
    return StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None).to(torch.float32)


def stock_picture(prompt: str, lora: Path | None = None) -> Image.Image:
    """One picture of the stock pipeline, with a LoRA folder loaded or not."""
    stock = stock_pipeline()
    stock.set_progress_bar_config(disable=True)
    if lora is not None:
        stock.load_lora_weights(lora, weight_name="pytorch_lora_weights.safetensors")
    generator = torch.Generator().manual_seed(7)
    return stock(prompt, num_inference_steps=6, guidance_scale=3.0, max_sequence_length=0, generator=generator).images[
        0
    ]


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def test_a_picture_does_not_depend_on_batch_or_order(flow: Backbone) -> None:
    prompts = [f"a cartoon of a {s} on the beach" for s in ("cat", "dog", "bus", "owl")] * 4
    seeds = list(range(16))
    whole = flow.sample(prompts, seeds, 6, 3.0)
    alone = flow.sample([prompts[5]], [seeds[5]], 6, 3.0)
    three = flow.sample([prompts[i] for i in (9, 5, 2)], [seeds[i] for i in (9, 5, 2)], 6, 3.0)
    assert difference(whole[5], alone[0]) <= 2
    assert difference(whole[5], three[1]) <= 2
    assert difference(whole[9], three[0]) <= 2
    assert difference(whole[5], whole[9]) > 20  # the comparison can tell pictures apart


def test_same_picture_as_the_stock_pipeline(flow: Backbone) -> None:
    prompt = "a cartoon of a cat on the beach"
    assert difference(stock_picture(prompt), flow.sample([prompt], [7], 6, 3.0)[0]) <= 2


def test_stock_diffusers_loads_the_exported_lora(flow: Backbone, tmp_path: Path) -> None:
    parameters = flow.add_lora("x", 4, ["attn.to_q", "attn.to_v", "attn.add_k_proj"], init="gaussian")
    torch.manual_seed(0)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.05 * torch.randn_like(p))
    Adapter([Lora(flow.lora_state("x"))], base="sticker-flow").save(tmp_path)
    flow.clear()
    prompt = "a cartoon of a cat on the beach"
    plain = flow.sample([prompt], [7], 6, 3.0)[0]
    with Adapter.load(tmp_path).applied(flow):
        ours = flow.sample([prompt], [7], 6, 3.0)[0]
    assert difference(ours, stock_picture(prompt, lora=tmp_path)) <= 2
    assert difference(ours, plain) > 20  # the LoRA does something
    assert difference(flow.sample([prompt], [7], 6, 3.0)[0], plain) == 0  # and leaves nothing behind


def test_layerwise_embeddings_change_every_blocks_text_input(flow: Backbone) -> None:
    token = flow.new_token("<new1>", "cat", layerwise=True)
    flow.add_token("word", token)
    seen: list[torch.Tensor] = []
    handles = [
        b.attn.register_forward_pre_hook(lambda m, a, k: seen.append(k["encoder_hidden_states"]), with_kwargs=True)
        for b in flow.denoiser.transformer_blocks
    ]
    x, t = noise()
    with flow.using(["word"]), torch.no_grad():
        embeds = flow.encode_prompts([PROMPT, PROMPT])
        assert embeds.slots.sum(1).tolist() == [1, 1]
        slot = int(embeds.slots[0].nonzero())
        flow.predict(x, t, embeds)
        before = [s[:, slot].clone() for s in seen]
        for index in range(len(before)):
            seen.clear()
            with torch.no_grad():
                token.layers[index] += 1.0 + torch.arange(token.layers.shape[1]) / 50
            flow.predict(x, t, embeds)
            assert not torch.allclose(seen[index][:, slot], before[index])  # block `index` reads its own vector
            for later in range(index + 1, len(before)):  # and what it did is overwritten before the next
                torch.testing.assert_close(seen[later][:, slot], before[later])
    for handle in handles:
        handle.remove()


def test_every_layer_gets_a_gradient(flow: Backbone) -> None:
    token = flow.new_token("<new1>", "cat", layerwise=True)
    flow.add_token("word", token)
    x, t = noise()
    with flow.using(["word"]):
        flow.predict(x, t, flow.encode_prompts([PROMPT, PROMPT])).square().mean().backward()
    assert (token.layers.grad.abs().sum(1) > 0).all()


def test_a_learned_row_replaces_the_word_in_both_text_towers(flow: Backbone) -> None:
    token = flow.new_token("<new1>", "cat", layerwise=False)
    flow.add_token("word", token)
    plain = flow.encode_prompts(["a cat cat"])
    with flow.using(["word"]):
        same = flow.encode_prompts(["a <new1> cat"])
    torch.testing.assert_close(same.embeds, plain.embeds)  # it starts as its word
    for row in token.rows:
        with torch.no_grad():
            row += 1.0
        with flow.using(["word"]):
            moved = flow.encode_prompts(["a <new1> cat"])
        assert not torch.allclose(moved.embeds, same.embeds)
        same = moved
    with flow.using(["word"]):
        flow.encode_prompts(["a <new1> cat"]).embeds.square().mean().backward()
    assert all(r.grad is not None and r.grad.abs().sum() > 0 for r in token.rows)
    torch.testing.assert_close(flow.encode_prompts(["a cat cat"]).embeds, plain.embeds)  # other words are untouched


def test_switching_off_keeps_the_gradient_on_its_way(flow: Backbone) -> None:
    """PEFT freezes what it switches off; the student must still learn when the teacher answers after it."""
    student = flow.add_lora("student", 2, ["attn.to_q"], init="gaussian")
    flow.add_lora("teacher", 2, ["attn.to_q"], init="gaussian")
    flow.freeze("teacher")
    x, t = noise()
    prompt = flow.encode_prompts(["a cat"] * 2)
    with flow.using(["student"]):
        out = flow.predict(x, t, prompt)
    with flow.using(["teacher"]), torch.no_grad():
        flow.predict(x, t, prompt)
    with flow.using([]), torch.no_grad():
        flow.predict(x, t, prompt)
    out.square().mean().backward()
    assert all(p.grad is not None for p in student)
    assert all(p.grad is None for p in flow.loras["teacher"])


def test_noise_is_rectified_flow(flow: Backbone) -> None:
    x_0, e = torch.randn(2, 2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.25, 0.75])
    x_t, target = flow.add_noise(x_0, e, t)
    torch.testing.assert_close(x_t[0], 0.75 * x_0[0] + 0.25 * e[0])
    torch.testing.assert_close(x_t - t[:, None, None, None] * target, x_0)


def test_a_photo_of_any_size_is_cut_to_the_models_square(flow: Backbone) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    square = photo.resize((64, 64))
    latents = flow.encode_images([photo, square])
    assert latents.shape == (2, 8, 16, 16)
    torch.testing.assert_close(latents[1:], flow.encode_images([square]))  # a 64×64 picture is taken as it is


def test_an_unknown_name_is_an_error(flow: Backbone) -> None:
    with pytest.raises(BenchError, match="nothing named"), flow.using(["ghost"]):
        pass
