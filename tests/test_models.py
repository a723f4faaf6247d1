"""The shipped models are what their cards say, and good enough to measure with."""

from __future__ import annotations

import json

import pytest

from bench import paths
from bench.backbone.files import fingerprint
from bench.stickers.check import accuracy, held_out_scenes, read
from bench.stickers.render import render

GATES = {"scene": 0.95, "style": 0.85, "subject": 0.65, "accessory": 0.55, "colour": 0.65}


@pytest.mark.parametrize("name", ["sticker-flow", "judges"])
def test_the_recorded_figures_are_of_these_weights(name: str) -> None:
    recorded = json.loads((paths.weights() / "checks" / f"{name}.json").read_text())
    for model, weights in recorded["weights"].items():
        assert fingerprint(paths.weights() / model)[:16] == weights, f"run python -m bench {name} again"


# Not reached yet: the model needs several times the training it had. Strict, so that the day it is
# reached this list has to go.
NOT_YET = ("subject", "style")


@pytest.mark.parametrize(
    "attribute", [pytest.param(a, marks=pytest.mark.xfail(strict=True)) if a in NOT_YET else a for a in GATES]
)
def test_the_base_model_follows_its_prompts(attribute: str) -> None:
    recorded = json.loads((paths.weights() / "checks" / "sticker-flow.json").read_text())
    assert recorded["captions"] >= 500
    assert recorded["drawn"][attribute] >= GATES[attribute]


def test_the_judges_see() -> None:
    recorded = json.loads((paths.weights() / "checks" / "judges.json").read_text())
    assert recorded["clip_retrieval_of_100"] >= 0.80
    assert recorded["dino_same_subject_auc"] >= 0.95


def test_the_oracle_reads_renderings() -> None:
    scenes = held_out_scenes(200)
    shares = accuracy(scenes, read([render(s) for s in scenes]))
    assert all(share >= 0.97 for share, _ in shares.values()), shares
    shuffled = accuracy(scenes[1:] + scenes[:1], read([render(s) for s in scenes]))
    assert shuffled["subject"][0] < 0.2  # the measure can fail


def test_the_judges_features_do_not_depend_on_the_batch() -> None:
    import numpy as np

    from bench.features import Dino, OpenClip

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

    from bench.features import OpenClip
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

    from bench.features import Dino
    from bench.stickers.pretrain.data import to_tensor

    judge = Dino("dino", "embedded:dino-judge")
    model = ViTModel.from_pretrained(judge.folder, add_pooling_layer=False).float().eval()
    images = [render(s) for s in held_out_scenes(3)]
    with torch.no_grad():
        z = model(pixel_values=to_tensor(images)).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(z, dim=-1).numpy()
    np.testing.assert_allclose(judge.images(images), expected, atol=1e-5)
