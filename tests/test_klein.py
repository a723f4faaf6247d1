"""FLUX.2-klein's own: a chat's template, latents normalized by statistics, steps that take no guidance."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image
from safetensors.torch import save_file

from bench import backbone
from bench.backbone.files import fingerprint
from bench.backbone.flow import Flow
from bench.backbone.flux2 import Flux2Klein
from bench.backbone.gate import Gate, strength
from bench.backbone.sample import branches, consistency, scheduler_of
from bench.compose import compose
from bench.contract.tiny import CHAT
from bench.errors import BenchError
from bench.outside.lora_file import modules, read
from bench.plan import make
from methods.classdiffusion import feature_at
from tests import tiny

PROMPTS = ["a cartoon of a cat on the beach", "", "dog"]
GIVEN = ["+method=none", "concept=whole_cat", "model=sticker-flow", "model.name=tiny", "++model.resolution=64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.flux2_folder(tmp_path_factory.mktemp("klein"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return backbone.load("flow", folder, 40, resolution=64)


@pytest.fixture
def network(loaded: Flux2Klein) -> Flux2Klein:
    loaded.clear()
    return loaded


def _tokens(network: Flux2Klein, prompt: str) -> list[str]:
    """Returns a prompt's tokens within the template, without what is padded."""
    tokenizer = network.prompts.tokenizers[0]
    said = [t for t in tokenizer.convert_ids_to_tokens(network.prompts.ids([prompt])[0]) if t != "<|endoftext|>"]
    before, after = ["<|im_start|>", "user", "Ċ"], ["<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ", "<think>"]
    end = said.index("<|im_end|>")
    assert said[:3] == before
    assert said[end:] == [*after, "ĊĊ", "</think>", "ĊĊ"]
    return said[3:end]


# --- what it reads -----------------------------------------------------------------------------------


@torch.no_grad()
def test_prompts_are_read_as_the_stock_pipeline_reads_them_and_no_word_is_predicted(network: Flux2Klein) -> None:
    theirs, _ = network.pipe.encode_prompt(PROMPTS, max_sequence_length=40)
    handle = network.pipe.text_encoder.lm_head.register_forward_hook(lambda *_: pytest.fail("logits"))
    try:
        together, pooled = network._embed(PROMPTS)
        network.text_states(PROMPTS)
    finally:
        handle.remove()
    assert torch.equal(together, theirs)
    assert pooled.shape == (3, 0)


def test_a_learned_word_takes_the_space_before_it_along_and_leaves_the_template(network: Flux2Klein) -> None:
    network.add_token("word", network.new_token("<new1>", "cat", layerwise=False))
    with network.using(["word"]):
        network.encode_prompts(["a <new1> cat"])
        assert _tokens(network, "a <new1> cat") == ["a", "<new1>", "Ġcat"]
        assert _tokens(network, "<new1> cat") == ["<new1>", "Ġcat"]
    tokenizer = network.prompts.tokenizers[0]
    assert tokenizer.convert_ids_to_tokens(network.prompts.pieces("cat")) == ["Ġcat"]  # what the word starts from
    assert network.prompts.place("a", "a cat") == 4


def test_a_word_that_starts_from_nothing_is_one_line(network: Flux2Klein) -> None:
    with pytest.raises(BenchError, match="has no token; any word would be right"):
        network.new_token("<new1>", " ", layerwise=False)


def test_text_states_are_those_of_the_prompt_alone(network: Flux2Klein) -> None:
    """Zeros where it is padded; the first end of text, where ClassDiffusion reads, is the message's own."""
    ((ids, states),) = network.text_states(PROMPTS)
    tokenizer = network.prompts.tokenizers[0]
    padded = ids == tokenizer.pad_token_id
    assert padded.any() and not states[padded].any()
    assert (states[~padded].abs().sum(-1) > 0).all()
    ends = feature_at(ids, states, tokenizer.eos_token_id)
    assert torch.equal(ends[1], states[1, 3])  # of the empty message
    assert (ends[0] - ends[2]).abs().max() > 1e-3


def test_a_gate_opens_to_its_phrase_wherever_it_stands(network: Flux2Klein) -> None:
    gate = Gate(("cat",))
    asked = ["cat on the beach", "a cat on the beach"]
    torch.testing.assert_close(strength(network, gate, asked), torch.ones(2), atol=1e-5, rtol=0)
    assert float(strength(network, gate, ["a dog"])) < 1


def test_words_of_the_vocabulary_are_whole(network: Flux2Klein, folder: Path, tmp_path: Path, dataset: Path) -> None:
    words = network.prompts.words()
    assert words == sorted(set(words))
    assert {"cat", "beach"} <= set(words)
    assert all(w.isalpha() and w.islower() for w in words)
    bench = tiny.bench_of(network, tiny.concept(dataset, "erase_cat"), tmp_path)
    assert set(bench.vocabulary()) <= set(words) - {"cat"}


@pytest.mark.parametrize("write", [tiny.unet_folder, tiny.sdxl_folder, tiny.flow_folder, tiny.flux_folder])
def test_the_words_of_a_clip_are_what_they_were(write: Any, tmp_path: Path) -> None:
    """The two lists that were made apart before there was one; their order is part of every draw from them."""
    family = "flow" if write in (tiny.flow_folder, tiny.flux_folder) else "epsilon"
    prompts = backbone.load(family, write(tmp_path), 20, resolution=64).prompts
    vocabulary = prompts.tokenizers[0].get_vocab()
    trained = [t.removesuffix("</w>") for t in sorted(vocabulary) if t.endswith("</w>")]
    attacked = sorted(t.removesuffix("</w>") for t in vocabulary if t.endswith("</w>"))
    plain = prompts.words()
    assert plain == [w for w in trained if w.isalpha() and w.isascii()]
    assert plain == [w for w in attacked if w.isalpha() and w.isascii()]
    assert len(plain) > 100


# --- latents and times -------------------------------------------------------------------------------


@torch.no_grad()
def test_pictures_are_encoded_as_the_stock_pipeline_encodes_them(network: Flux2Klein) -> None:
    pictures = [Image.effect_noise((64, 64), s).convert("RGB") for s in (20, 90)]
    pixels = network.pipe.image_processor.preprocess(pictures)
    ours = network.encode_images(pictures)
    assert ours.shape == (2, *network.latent_shape) == (2, 16, 8, 8)
    torch.testing.assert_close(ours, network.pipe._encode_vae_image(pixels, None))
    z = torch.randn(2, 4, 16, 16)
    torch.testing.assert_close(network._from_latents(network._to_latents(z)), z)
    assert network.decode(ours).shape == (2, 3, 64, 64)


def test_its_own_square_is_the_pipelines(folder: Path) -> None:
    own: Any = backbone.load("flow", folder, 40)
    assert (own.pixels, own.latent_shape, own.patches) == (512, (16, 64, 64), 64**2)


def test_training_times_are_shifted_as_two_hundred_steps_are(network: Flux2Klein) -> None:
    assert network.shift() == compute_empirical_mu(network.patches, 200)
    assert network.shift() == pytest.approx(Flow.shift(network), abs=1e-5)  # FLUX.1's line
    few, many = (scheduler_of(network, steps).sigmas for steps in (4, 200))
    assert few[0] == many[0] == 1
    assert few[2] > many[100]  # halfway: the fewer steps, the longer it stays with noise
    times = network.sample_times(20000, torch.Generator().manual_seed(0))
    middle = torch.tensor(network.shift()).sigmoid()
    assert float(times.median()) == pytest.approx(float(middle), abs=0.02)


def test_every_kind_of_weights_is_where_it_should_be(network: Flux2Klein) -> None:
    double, single = ([f"{b}transformer_blocks.{i}.attn." for i in range(2)] for b in ("", "single_"))
    text = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    own = [f"{b}{m}" for b in double for m in ("to_q", "to_k", "to_v", "to_out.0")]
    assert sorted(network.modules("attention")) == sorted(
        [*own, *(f"{b}{m}" for b in single for m in ("to_qkv_mlp_proj", "to_out"))]
    )
    assert sorted(network.modules("text_attention")) == sorted(f"{b}{m}" for b in double for m in text)
    assert sorted(network.modules("text_kv")) == sorted(f"{b}{m}" for b in double for m in text[1:3])
    assert set(network.modules("attention")) < set(network.modules("transformer")) < set(network.modules("all"))
    assert not set(network.modules("not_text_attention")) & set(network.modules("text_attention"))


# --- what takes no guidance --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.flux2_folder(tmp_path_factory.mktemp("distilled"), is_distilled=True)


def test_a_step_distilled_network_predicts_once_a_step(distilled: Path) -> None:
    network: Any = backbone.load("flow", distilled, 40, resolution=64)
    seen: list[int] = []
    handle = network.denoiser.register_forward_pre_hook(
        lambda m, a, k: seen.append(len(k["hidden_states"])), with_kwargs=True
    )
    try:
        network.sample(["a cat"], [0], 4, 3.5)
    finally:
        handle.remove()
    assert seen == [1] * 4
    # DCO's guidance is that of a scale of 1, which is what such a model is given
    ours = {b.prompts: b.weight for b in branches(network, 1.0, 3.0)}
    assert ours == {b.prompts: b.weight for b in consistency(1.0, 3.0) if b.weight}


def test_guidance_that_would_be_ignored_is_one_line(distilled: Path, folder: Path) -> None:
    asked = [*GIVEN, f"model.path={distilled}", "model.max_sequence_length=40"]
    with pytest.raises(BenchError, match=r"model\.guidance_scale=3: .* takes no guidance; 1 would be right") as caught:
        make(*compose(asked))
    assert "\n" not in str(caught.value)
    make(*compose([*asked, "model.guidance_scale=1"]))
    make(*compose([*asked, f"model.path={folder}"]))


# --- files -------------------------------------------------------------------------------------------


def test_a_chats_template_is_part_of_the_model(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    assert fingerprint(other) == fingerprint(folder)
    template = other / "tokenizer" / "chat_template.jinja"
    template.write_text(CHAT.replace("user", "somebody").replace("<think>", ""))
    assert fingerprint(other) != fingerprint(folder)
    template.unlink()
    with pytest.raises(BenchError, match=r"tokenizer/chat_template\.jinja is missing; it goes into") as caught:
        make(*compose([*GIVEN, f"model.path={other}", "model.max_sequence_length=40"]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["diffusers", "PEFT", "kohya"])
def test_a_lora_made_elsewhere_finds_its_modules(layout: str, folder: Path, tmp_path: Path) -> None:
    model = {"name": "tiny", "family": "flow", "path": str(folder)}
    shapes = {m: s for m, s in modules(model).items() if m.endswith(("to_qkv_mlp_proj", "attn.to_out", "to_out.0"))}
    assert len(shapes) == 6
    start = {"diffusers": "transformer.", "PEFT": "base_model.model.", "kohya": "lora_unet_"}[layout]
    a, b = (".lora_down", ".lora_up") if layout == "kohya" else (".lora_A", ".lora_B")
    named = {m: start + (m.replace(".", "_") if layout == "kohya" else m) for m in shapes}
    state = {f"{named[m]}{a}.weight": torch.ones(2, s[1]) for m, s in shapes.items()}
    state |= {f"{named[m]}{b}.weight": torch.ones(s[0], 2) for m, s in shapes.items()}
    save_file(state, tmp_path / "lora.safetensors")
    adapter, found = read(tmp_path / "lora.safetensors", model)
    assert layout in found
    assert {k.partition(".lora_")[0] for k in adapter.loras[0].factors} == set(shapes)
