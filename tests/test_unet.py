"""The U-Net backbone on the shipped model, and what both families must agree on."""

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
from tests import tiny

PROMPT = "a cartoon of a cat on the beach"


@pytest.fixture(scope="module")
def unet() -> Backbone:
    return backbone.load("epsilon", resolve("embedded:sticker-unet"))


@pytest.fixture(autouse=True)
def _cleared(unet: Backbone) -> None:
    unet.clear()


def stock_picture(lora: Path | None = None) -> Image.Image:
    """One picture of the stock pipeline, as its documentation loads it."""
    from diffusers import StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(resolve("embedded:sticker-unet")).to(torch.float32)
    stock.set_progress_bar_config(disable=True)
    if lora is not None:
        stock.load_lora_weights(lora, weight_name="pytorch_lora_weights.safetensors")
    generator = torch.Generator().manual_seed(7)
    return stock(PROMPT, num_inference_steps=6, guidance_scale=3.0, generator=generator).images[0]


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def test_same_picture_as_the_stock_pipeline(unet: Backbone) -> None:
    assert difference(stock_picture(), unet.sample([PROMPT], [7], 6, 3.0)[0]) <= 2


def test_a_picture_does_not_depend_on_batch_or_order(unet: Backbone) -> None:
    prompts = [f"a cartoon of a {s} on the beach" for s in ("cat", "dog", "bus", "owl")] * 2
    whole = unet.sample(prompts, list(range(8)), 6, 3.0)
    three = unet.sample([prompts[i] for i in (7, 5, 2)], [7, 5, 2], 6, 3.0)
    assert difference(whole[5], three[1]) <= 2
    assert difference(whole[5], unet.sample([prompts[5]], [5], 6, 3.0)[0]) <= 2
    assert difference(whole[5], whole[1]) > 20


def test_stock_diffusers_loads_the_exported_lora(unet: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for p in unet.add_lora("x", 4, unet.modules("attention"), init="gaussian"):
            p.add_(0.05 * torch.randn_like(p))
    Adapter([Lora(unet.lora_state("x"))], prefix=unet.prefix).save(tmp_path)
    unet.clear()
    with Adapter.load(tmp_path).applied(unet):
        ours = unet.sample([PROMPT], [7], 6, 3.0)[0]
    assert difference(ours, stock_picture(tmp_path)) <= 2
    assert difference(ours, stock_picture()) > 20


def test_layerwise_words_reach_every_cross_attention(unet: Backbone) -> None:
    token = unet.new_token("<new1>", "cat", layerwise=True)
    unet.add_token("word", token)
    assert token.layers is not None
    assert len(token.layers) == len(unet.readers) == 4
    x, t = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.7])
    with unet.using(["word"]):
        unet.predict(x, t, unet.encode_prompts(["a <new1> cat"] * 2)).square().mean().backward()
    assert (token.layers.grad.abs().sum(1) > 0).all()


def test_noise_is_added_as_the_pipelines_scheduler_adds_it(unet: Backbone) -> None:
    g = torch.Generator().manual_seed(0)
    x_0, noise = torch.randn(3, 8, 16, 16, generator=g), torch.randn(3, 8, 16, 16, generator=g)
    steps = torch.tensor([0, 500, 999])
    x_t, target = unet.add_noise(x_0, noise, steps / 1000)
    torch.testing.assert_close(x_t, unet.pipe.scheduler.add_noise(x_0, noise, steps))
    assert torch.equal(target, noise)
    times = unet.sample_times(5000, g)
    torch.testing.assert_close(1000 * times, (1000 * times).round(), atol=1e-3, rtol=0)  # they are discrete
    assert len((1000 * times).round().unique()) > 900
    assert float(times.min()) >= 0
    assert float(times.max()) < 0.9995


@pytest.mark.parametrize("family", ["flow", "epsilon", "v"])
def test_the_clean_picture_follows_from_the_target(family: str, unet: Backbone, tmp_path: Path) -> None:
    if family == "v":
        network: Backbone = backbone.load("v", tiny.unet_folder(tmp_path, "v_prediction"))
        assert network.family == "v"
    else:
        network = unet if family == "epsilon" else backbone.load("flow", resolve("embedded:sticker-flow"))
    g = torch.Generator().manual_seed(0)
    x_0, noise = torch.randn(2, 8, 16, 16, generator=g), torch.randn(2, 8, 16, 16, generator=g)
    t = torch.tensor([0.2, 0.8])
    x_t, target = network.add_noise(x_0, noise, t)
    torch.testing.assert_close(network.clean(x_t, target, t), x_0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["flow", "epsilon"])
def test_partly_denoised_latents_are_at_the_time_they_say(
    family: str, unet: Backbone, dataset: Path, tmp_path: Path
) -> None:
    """A network that always knows the clean picture leaves x_t = α x_0 + σ noise at exactly that time."""
    network = unet if family == "epsilon" else backbone.load("flow", resolve("embedded:sticker-flow"))
    bench = tiny.bench_of(network, tiny.concept(dataset, "erase_cat"), tmp_path)
    x_0 = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(5))

    def oracle(x_t: torch.Tensor, t: torch.Tensor, prompt: Any) -> torch.Tensor:
        alpha, sigma = network.alpha_sigma(t)
        noise = (x_t - alpha * x_0) / sigma
        return network.target(x_0, noise, t)

    original = network.predict
    network.predict = oracle  # type: ignore[method-assign]
    try:
        for step in range(4):
            batch = bench.partly_denoised("s", step, "cat", [], steps=20)
            alpha, sigma = network.alpha_sigma(batch.t)
            left = (batch.x_t - alpha * x_0) / sigma
            assert float(left.std()) == pytest.approx(1.0, abs=0.05)
            assert 0 < float(batch.t) < 1
    finally:
        network.predict = original  # type: ignore[method-assign]


def test_an_adapter_of_the_first_model_acts_on_the_community_checkpoint(unet: Backbone) -> None:
    other = backbone.load("epsilon", resolve("embedded:sticker-unet"), lora=resolve("embedded:sticker-unet-b"))
    plain, theirs = (n.sample([PROMPT], [7], 6, 3.0)[0] for n in (unet, other))
    assert difference(plain, theirs) > 20
    torch.manual_seed(0)
    with torch.no_grad():
        for p in unet.add_lora("x", 1, unet.modules("transformer")):
            p.add_(0.05 * torch.randn_like(p))
    adapter = Adapter([Lora(unet.lora_state("x"))], prefix=unet.prefix)
    with adapter.applied(other):
        assert difference(other.sample([PROMPT], [7], 6, 3.0)[0], theirs) > 5
    assert difference(other.sample([PROMPT], [7], 6, 3.0)[0], theirs) == 0


def test_every_kind_of_weights_is_there_and_an_unknown_one_is_named(unet: Backbone) -> None:
    kinds = {k: len(unet.modules(k)) for k in unet.kinds}
    assert kinds["attention"] == 8 * 4
    assert kinds["text_kv"] == 2 * 4
    assert kinds["transformer"] == 12 * 4  # as SPM counts them: twelve to a transformer block
    assert kinds["text_attention"] + kinds["not_text_attention"] == kinds["all"]
    with pytest.raises(BenchError, match="weights=nothing"):
        unet.modules("nothing")
