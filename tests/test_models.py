"""The shipped models are what their cards say, and good enough to measure with."""

from __future__ import annotations

import json

import pytest

from bench import paths
from bench.backbone.files import fingerprint
from bench.stickers.check import held_out_scenes
from bench.stickers.oracle import accuracy, read
from bench.stickers.render import render

GATES = {"scene": 0.95, "style": 0.85, "subject": 0.90, "accessory": 0.80, "colour": 0.85}
MODELS = ["sticker-flow", "sticker-unet"]


@pytest.mark.parametrize("name", [*MODELS, "judges"])
def test_the_recorded_figures_are_of_these_weights(name: str) -> None:
    recorded = json.loads((paths.weights() / "checks" / f"{name}.json").read_text())
    for model, weights in recorded["weights"].items():
        assert fingerprint(paths.weights() / model)[:16] == weights, f"run python -m bench {name} again"


@pytest.mark.parametrize("attribute", GATES)
@pytest.mark.parametrize("model", MODELS)
def test_the_base_model_follows_its_prompts(model: str, attribute: str) -> None:
    recorded = json.loads((paths.weights() / "checks" / f"{model}.json").read_text())
    assert recorded["captions"] >= 500
    assert recorded["drawn"][attribute] >= GATES[attribute]


def test_both_models_share_what_they_say_they_share() -> None:
    from safetensors.torch import load_file

    flow, unet = paths.weights() / "sticker-flow", paths.weights() / "sticker-unet"
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert (flow / vae).read_bytes() == (unet / vae).read_bytes()
    ours, theirs = (load_file(f / "text_encoder" / "model.safetensors") for f in (unet, flow))
    theirs.pop("text_projection.weight")
    by_end = {k.removeprefix("text_model."): v for k, v in theirs.items()}
    assert {k.removeprefix("text_model.") for k in ours} == set(by_end)
    assert all((v == by_end[k.removeprefix("text_model.")]).all() for k, v in ours.items())
    for name in ("vocab.json", "merges.txt"):
        assert (flow / "tokenizer" / name).read_bytes() == (unet / "tokenizer" / name).read_bytes()


def test_the_judges_see() -> None:
    recorded = json.loads((paths.weights() / "checks" / "judges.json").read_text())
    assert recorded["clip_retrieval_of_100"] >= 0.80
    assert recorded["dino_same_subject_auc"] >= 0.95


@pytest.mark.parametrize(("score", "gate"), [("blip2_itm_auc", 0.90), ("blip2_itc_auc", 0.85)])
def test_the_blip2_judge_tells_true_captions_from_changed_ones(score: str, gate: float) -> None:
    recorded = json.loads((paths.weights() / "checks" / "judges.json").read_text())
    assert recorded[score]["any"] >= gate


def test_the_oracle_reads_renderings() -> None:
    scenes = held_out_scenes(200)
    shares = accuracy(scenes, read([render(s) for s in scenes]))
    assert all(share >= 0.97 for share, _ in shares.values()), shares
    shuffled = accuracy(scenes[1:] + scenes[:1], read([render(s) for s in scenes]))
    assert shuffled["subject"][0] < 0.2  # the measure can fail


def test_the_judges_features_do_not_depend_on_the_batch() -> None:
    import numpy as np

    from bench.judges.clip import OpenClip
    from bench.judges.dino import Dino

    images = [render(s) for s in held_out_scenes(7)]
    for judge in (OpenClip("clip", "embedded:clip-judge"), Dino("dino", "embedded:dino-judge")):
        together = judge.images(images)
        alone = np.concatenate([judge.images([i]) for i in images])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_clip_judge_equals_a_plain_forward_pass() -> None:
    """The whole path, preprocessing included, against open_clip called by hand on the same pixels."""
    import numpy as np
    import open_clip
    import torch

    from bench.judges.clip import OpenClip
    from bench.stickers.pretrain.data import to_tensor

    judge = OpenClip("clip", "embedded:clip-judge")
    where = f"local-dir:{judge.folder}"
    model, tokenizer = open_clip.create_model(where).eval(), open_clip.get_tokenizer(where)
    images = [render(s) for s in held_out_scenes(3)]
    words = ["a cartoon of a cat", "a very " * 30 + "long caption"]
    with torch.no_grad():
        image = torch.nn.functional.normalize(model.encode_image(to_tensor(images)), dim=-1)
        text = torch.nn.functional.normalize(model.encode_text(tokenizer(words)), dim=-1)
    np.testing.assert_allclose(judge.images(images), image.numpy(), atol=1e-5)
    np.testing.assert_allclose(judge.texts(words), text.numpy(), atol=1e-5)
    assert (tokenizer(words) == 1021).any(1).all()  # an overlong caption keeps its end token


def test_the_dino_judge_equals_a_plain_forward_pass() -> None:
    import numpy as np
    import torch
    from transformers import ViTModel

    from bench.judges.dino import Dino
    from bench.stickers.pretrain.data import to_tensor

    judge = Dino("dino", "embedded:dino-judge")
    model = ViTModel.from_pretrained(judge.folder, add_pooling_layer=False).float().eval()
    images = [render(s) for s in held_out_scenes(3)]
    with torch.no_grad():
        z = model(pixel_values=to_tensor(images)).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(z, dim=-1).numpy()
    np.testing.assert_allclose(judge.images(images), expected, atol=1e-5)


def test_the_blip_judges_equal_their_classes_own_forward_pass() -> None:
    """The same pictures and words through transformers' forward methods, called by hand."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer, Blip2ForImageTextRetrieval, BlipForImageTextRetrieval

    from bench.judges.matching import Blip1, Blip2
    from bench.stickers.pretrain.data import to_tensor

    images = [render(s) for s in held_out_scenes(3)]
    texts = ["a cartoon of a cat", "a flat icon of a red bus at night", "a dog"]
    for judge, cls in (
        (Blip2("b", "embedded:blip2-judge"), Blip2ForImageTextRetrieval),
        (Blip1("b", "embedded:blip1-judge"), BlipForImageTextRetrieval),
    ):
        model = cls.from_pretrained(judge.folder).float().eval()
        words = AutoTokenizer.from_pretrained(judge.folder)(texts, padding=True, return_tensors="pt")
        given = {"pixel_values": to_tensor(images), **{k: words[k] for k in ("input_ids", "attention_mask")}}
        with torch.no_grad():
            if isinstance(judge, Blip2):
                itm = model(**given, use_image_text_matching_head=True).logits_per_image.softmax(-1)[:, 1]
                itc = model(**given, use_image_text_matching_head=False).logits_per_image.diagonal()
                expected = torch.stack([itm, itc], 1)
            else:
                expected = model(**given, use_itm_head=False).itm_score.diagonal()[:, None]
        np.testing.assert_allclose(judge.pairs(images, texts), expected.numpy(), atol=2e-5)
        alone = np.concatenate([judge.pairs([i], [t]) for i, t in zip(images, texts, strict=True)])
        np.testing.assert_allclose(judge.pairs(images, texts), alone, atol=1e-5)  # no score depends on the batch


def test_captions_are_read_as_lavis_reads_them() -> None:
    from bench.judges.matching import clean

    assert clean("A Photo of <new1> Dog, on the (beach).") == "a photo of <new1> dog, on the beach"
    assert len(clean("word " * 80).split()) == 50
