"""Every pipeline class draws what stock diffusers draws, and is found by what its folder says it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from bench import backbone, names, pipelines
from bench.adapter import Adapter, Lora
from bench.backbone.base import Backbone
from bench.backbone.sample import Guided, branches, consistency
from bench.errors import BenchError
from tests import tiny

PROMPT, STEPS = "a cartoon of a cat on the beach", 6
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # the stock pipeline's own, of Euler's


@dataclass(frozen=True)
class Case:
    """A random pipeline: what it predicts, how it is loaded here, and what the stock pipeline is called with."""

    family: str
    loaded: dict[str, int] = field(default_factory=dict)
    called: dict[str, Any] = field(default_factory=dict)


UNSAID = {"max_sequence_length": 256}  # what the stock pipeline takes where nothing is said
T5, SIDE = {"max_sequence_length": 24}, {"height": 64, "width": 64}
CHAT = {"max_sequence_length": 40}
CASES = {
    "sdxl": Case("epsilon"),
    "sdxl-v": Case("v"),
    "sdxl-small": Case("epsilon", {"resolution": 32}, {"height": 32, "width": 32}),
    "v": Case("v"),
    "sd35": Case("flow", T5, T5),
    "sd35-without-t5": Case("flow", UNSAID),
    "flux": Case("flow", T5 | {"resolution": 64}, T5 | SIDE),
    "flux-plain": Case("flow", T5 | {"resolution": 64}, T5 | SIDE | {"negative_prompt": "", "true_cfg_scale": 3.0}),
    "klein": Case("flow", CHAT | {"resolution": 64}, CHAT | SIDE),
    "klein-distilled": Case("flow", CHAT | {"resolution": 64}, CHAT | SIDE),
}
WRITE = {
    "sdxl": tiny.sdxl_folder,
    "sdxl-v": lambda p: tiny.sdxl_folder(p, "v_prediction"),
    "sdxl-small": tiny.sdxl_folder,
    "v": lambda p: tiny.unet_folder(p, "v_prediction"),
    "sd35": lambda p: tiny.flow_folder(p, t5=True),
    "sd35-without-t5": tiny.flow_folder,
    "flux": tiny.flux_folder,
    "flux-plain": lambda p: tiny.flux_folder(p, guidance_embeds=False),
    "klein": tiny.flux2_folder,
    "klein-distilled": lambda p: tiny.flux2_folder(p, is_distilled=True),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@cache
def _loaded(name: str, folders: Path) -> Backbone:
    folder = _as_published(WRITE[name](folders / name))
    return backbone.load(CASES[name].family, folder, **CASES[name].loaded)


def _as_published(folder: Path) -> Path:
    """States 2 as the end of text, as the CLIP towers of SDXL and FLUX do, whatever their tokenizer says."""
    for path in folder.glob("text_encoder*/config.json"):
        said = json.loads(path.read_text())
        if said["model_type"] == "clip_text_model":
            path.write_text(json.dumps(said | {"eos_token_id": 2}))
    return folder


@pytest.fixture(params=CASES)
def named(request: pytest.FixtureRequest, folders: Path) -> Iterator[tuple[str, Backbone]]:
    network = _loaded(request.param, folders)
    yield request.param, network
    network.clear()


def stock(name: str, folder: Path, lora: Path | None = None) -> Image.Image:
    """One picture of the stock pipeline, as a case has it called."""
    absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd35-without-t5" else {}
    pipe = getattr(diffusers, pipelines.class_of(folder)).from_pretrained(folder, **absent).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if lora is not None:
        pipe.load_lora_weights(lora, weight_name="pytorch_lora_weights.safetensors")
    generator = torch.Generator().manual_seed(7)
    called = {"guidance_scale": 3.0} | (CASES[name].called if name in CASES else {})
    return pipe(prompt=PROMPT, num_inference_steps=STEPS, generator=generator, **called).images[0]


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def test_same_picture_as_the_stock_pipeline(named: tuple[str, Backbone], folders: Path) -> None:
    name, network = named
    ours = network.sample([PROMPT], [7], STEPS, 3.0)[0]
    assert difference(stock(name, folders / name), ours) <= 2
    assert difference(network.sample(["a dog at night"], [7], STEPS, 3.0)[0], ours) > 2  # the words reach the picture
    unguided = difference(network.sample([PROMPT], [7], STEPS, 1.0)[0], ours)
    assert unguided == 0 if name == "klein-distilled" else unguided > 2  # and so does guidance, where there is any


def test_stock_diffusers_loads_the_exported_lora(named: tuple[str, Backbone], folders: Path, tmp_path: Path) -> None:
    name, network = named
    torch.manual_seed(0)
    with torch.no_grad():
        for p in network.add_lora("x", 4, network.modules("attention"), init="gaussian"):
            p.add_(0.3 * torch.randn_like(p))
    Adapter([Lora(network.lora_state("x"))], prefix=network.prefix).save(tmp_path)
    network.clear()
    plain = network.sample([PROMPT], [7], STEPS, 3.0)[0]
    with Adapter.load(tmp_path).applied(network):
        ours = network.sample([PROMPT], [7], STEPS, 3.0)[0]
    assert difference(ours, stock(name, folders / name, tmp_path)) <= 2
    assert difference(ours, plain) > 5


def test_a_picture_does_not_depend_on_batch_or_order(named: tuple[str, Backbone]) -> None:
    _, network = named
    prompts = [f"a cartoon of a {s} on the beach" for s in ("cat", "dog", "bus")]
    whole = network.sample(prompts, [1, 2, 3], STEPS, 3.0)
    pair = network.sample([prompts[2], prompts[1]], [3, 2], STEPS, 3.0)
    assert max(difference(whole[1], pair[1]), difference(whole[2], pair[0])) <= 2


def test_layerwise_words_lie_where_the_word_is_read(named: tuple[str, Backbone]) -> None:
    """Every reader gets its own vector, in each tower whose tokens the denoiser reads."""
    _, network = named
    token = network.new_token("<new1>", "cat", layerwise=True)
    assert token.layers is not None
    assert len(token.layers) == len(network.readers)
    network.add_token("word", token)
    x = torch.randn(2, *network.latent_shape, generator=torch.Generator().manual_seed(0))
    with network.using(["word"]):
        embeds = network.encode_prompts(["a <new1> cat"] * 2)
        assert embeds.slots.sum(1).tolist() == [len(network.read)] * 2
        network.predict(x, torch.tensor([0.3, 0.7]), embeds).square().mean().backward()
    assert token.layers.grad is not None
    assert (token.layers.grad.abs().sum(1) > 0).all()


def test_a_learned_row_replaces_the_word_in_every_tower(named: tuple[str, Backbone]) -> None:
    _, network = named
    token = network.new_token("<new1>", "cat", layerwise=False)
    network.add_token("word", token)
    assert len(token.rows) == len(network.towers)
    plain = network.encode_prompts(["a cat dog"])
    with network.using(["word"]):
        same = network.encode_prompts(["a <new1> dog"])
    torch.testing.assert_close(same.embeds, plain.embeds)  # it starts as its word
    torch.testing.assert_close(same.pooled, plain.pooled)
    with network.using(["word"]):
        said = network.encode_prompts(["a <new1> dog"])
        (said.embeds.square().sum() + said.pooled.square().sum()).backward()
    assert all(r.grad is not None and r.grad.abs().sum() > 0 for r in token.rows)
    for row in token.rows:
        with torch.no_grad():
            row += 1.0
    with network.using(["word"]):
        moved = network.encode_prompts(["a <new1> dog"])
    assert not torch.allclose(moved.embeds, same.embeds)
    torch.testing.assert_close(network.encode_prompts(["a cat dog"]).embeds, plain.embeds)  # others are untouched


def test_partly_denoised_latents_are_at_the_time_they_say(
    named: tuple[str, Backbone], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that always knows the clean picture leaves x_t = α x_0 + σ noise; Euler's sampler works on another."""
    _, network = named
    bench = tiny.bench_of(network, tiny.concept(dataset, "erase_cat"), tmp_path)
    x_0 = torch.randn(1, *network.latent_shape, generator=torch.Generator().manual_seed(5))

    def oracle(x_t: torch.Tensor, t: torch.Tensor, prompt: Any) -> torch.Tensor:
        alpha, sigma = network.alpha_sigma(t)
        return network.target(x_0, (x_t - alpha * x_0) / sigma, t)

    monkeypatch.setattr(network, "predict", oracle)
    for step in range(3):
        batch = bench.partly_denoised("s", step, "cat", [], steps=20)
        alpha, sigma = network.alpha_sigma(batch.t)
        left = (batch.x_t - alpha * x_0) / sigma
        assert float(left.std()) == pytest.approx(1.0, abs=0.08)
        assert 0 < float(batch.t) < 1


@pytest.mark.parametrize("sampler", pipelines.DISCRETE)
def test_every_sampler_that_is_let_in_draws_what_the_stock_pipeline_draws(sampler: str, tmp_path: Path) -> None:
    """Whatever noise it adds is each picture's own."""
    folder = tiny.unet_folder(tmp_path / "m")
    pipe: Any = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipe.scheduler = getattr(diffusers, sampler).from_config(pipe.scheduler.config)
    pipe.save_pretrained(folder)
    network = backbone.load("epsilon", folder)
    ours = network.sample(["a dog at night", PROMPT], [3, 7], STEPS, 3.0)[1]
    assert difference(network.sample([PROMPT], [7], STEPS, 3.0)[0], ours) <= 2
    assert difference(stock(sampler, folder), ours) <= 2


def test_a_sampler_or_an_autoencoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tiny.sdxl_folder(tmp_path / "m")
    index, vae = folder / "model_index.json", folder / "vae/config.json"
    said, scaled = json.loads(index.read_text()), json.loads(vae.read_text())
    index.write_text(json.dumps(said | {"scheduler": ["diffusers", "EDMDPMSolverMultistepScheduler"]}))
    with pytest.raises(BenchError, match=r"model_index\.json: scheduler=EDM.*PNDMScheduler"):
        pipelines.check_family("epsilon", folder)
    index.write_text(json.dumps(said))
    vae.write_text(json.dumps(scaled | {"latents_mean": [0.1, 0.1, 0.1, 0.1]}))
    with pytest.raises(BenchError, match=r"vae/config\.json: latents_mean"):
        pipelines.check_family("epsilon", folder)


def test_times_are_shifted_as_the_sampler_is(folders: Path) -> None:
    """The median of FLUX's training times is the shifted 1/2, at the resolution it is run at."""
    network: Any = _loaded("flux", folders)
    mu = network.shift()
    times = network.sample_times(20000, torch.Generator().manual_seed(0))
    assert float(times.median()) == pytest.approx(np.exp(mu) / (np.exp(mu) + 1), abs=0.02)
    larger = backbone.load("flow", folders / "flux", 24, resolution=128)
    assert larger.shift() > mu  # type: ignore[attr-defined]


def test_a_distilled_network_is_told_its_guidance_and_trains_at_one(folders: Path) -> None:
    network = _loaded("flux", folders)
    seen: list[float] = []
    handle = network.denoiser.time_text_embed.register_forward_pre_hook(lambda m, a: seen.extend(a[1].tolist()))
    x = torch.randn(1, *network.latent_shape, generator=torch.Generator().manual_seed(0))
    try:
        network.predict(x, torch.tensor([0.5]), network.encode_prompts([PROMPT]))
        network.sample([PROMPT], [0], 1, 3.5)
        network.predict(x, torch.tensor([0.5]), network.encode_prompts([PROMPT]))
    finally:
        handle.remove()
    assert seen == [1000.0, 3500.0, 1000.0]  # one prediction a step, and none of the empty prompt


def test_consistency_guidance_of_a_distilled_network_is_the_same_sum(folders: Path) -> None:
    """Where v_w is exactly v(∅) + w (v − v(∅)), both ways to DCO's guidance agree."""
    network = _loaded("flux", folders)
    empty, base, asked = (torch.randn(1, *network.latent_shape) for _ in range(3))
    w, w_con = 3.5, 3.0

    def distilled(v: torch.Tensor) -> torch.Tensor:
        return empty + w * (v - empty)

    told = branches(network, w, w_con)
    assert [(b.prompts, b.adapted, b.told) for b in told] == [("base", False, w), ("asked", True, w)]
    ours = told[0].weight * distilled(base) + told[1].weight * distilled(asked)
    theirs = sum(
        b.weight * {"empty": empty, "base": base, "asked": asked}[b.prompts] for b in consistency(w, w_con)
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs)
    out = Guided(network, told, ["a cat at night"], ["a cat"])(
        torch.zeros(1, *network.latent_shape), torch.tensor([0.5])
    )
    assert out.shape == (1, *network.latent_shape)


def test_the_empty_prompt_of_sdxl_is_what_it_was_trained_with(folders: Path) -> None:
    network = _loaded("sdxl", folders)
    assert network.encode_prompts([""]).embeds.abs().max() == 0
    assert network.encode_prompts(["a"]).embeds.abs().max() > 0


# --- what a folder says of itself ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "said"), [("sdxl", "v"), ("v", "epsilon"), ("flux", "epsilon"), ("sdxl", "flow")])
def test_another_family_than_the_folders_is_one_line(name: str, said: str, folders: Path) -> None:
    _loaded(name, folders)
    with pytest.raises(BenchError, match=f"model.family={said}: .*{CASES[name].family} would be right") as caught:
        backbone.load(said, folders / name, **CASES[name].loaded)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"_class_name": "KandinskyPipeline"}, "_class_name=KandinskyPipeline; StableDiffusionPipeline"),
        ({}, "_class_name=None"),
        (None, "no such file"),
    ],
)
def test_a_folder_of_no_known_class_is_one_line(index: Any, says: str, folders: Path, tmp_path: Path) -> None:
    _loaded("v", folders)
    shutil.copytree(folders / "v", tmp_path / "m")
    path = tmp_path / "m" / "model_index.json"
    path.unlink()
    if index is not None:
        path.write_text(json.dumps(index))
    with pytest.raises(BenchError, match=r"model_index\.json: ") as caught:
        backbone.load("v", tmp_path / "m")
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["flux", "klein"])
@pytest.mark.parametrize(("given", "says"), [({"resolution": 64}, "max_sequence_length=0"),
                                             (T5 | {"resolution": 68}, "resolution=68: a multiple of 8")])  # fmt: skip
def test_what_flux_needs_is_said(name: str, given: dict[str, int], says: str, folders: Path) -> None:
    _loaded(name, folders)
    with pytest.raises(BenchError, match=says) as caught:
        backbone.load("flow", folders / name, **given)
    assert "\n" not in str(caught.value)


def test_a_change_to_one_class_leaves_the_others_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of a class hangs on its own files and the shared ones, and on no other class's."""
    shutil.copytree(Path(names.__file__).parent, tmp_path / "bench", ignore=shutil.ignore_patterns("stickers", "_*_"))
    for module in (names, pipelines):
        monkeypatch.setattr(module, "__file__", str(tmp_path / "bench" / Path(module.__file__).name))
    monkeypatch.setattr(names, "_same_as", dict)
    before = names.codes()

    def changed(file: str) -> set[str]:
        path = tmp_path / "bench" / "backbone" / file
        text = path.read_text()
        path.write_text(text + "# more\n")
        after = names.codes()
        path.write_text(text)
        return {k.partition("/")[2] for k in before if before[k] != after[k]}

    assert changed("flux.py") == {"FluxPipeline"}
    assert changed("sdxl.py") == {"StableDiffusionXLPipeline"}
    assert changed("sd.py") == {"StableDiffusionPipeline", "StableDiffusionXLPipeline"}
    assert changed("flux2.py") == changed("chat.py") == {"Flux2KleinPipeline"}
    assert changed("flow.py") == {"StableDiffusion3Pipeline", "FluxPipeline", "Flux2KleinPipeline"}
    assert changed("base.py") == set(pipelines.CLASSES)
    assert set(pipelines.CLASSES) == {k.partition("/")[2] for k in before}
