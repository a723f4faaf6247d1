"""What judges see of a picture, against the same steps by hand: an encoder's test on its own pixels misses these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.judges.clip import Clip, OpenClip
from bench.judges.dino import Dino
from bench.judges.matching import Blip1, Blip2
from bench.judges.pixels import Pixels
from bench.pictures import as_trained

WIDE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (83, 140, 3), dtype=np.uint8))
TALL = WIDE.transpose(Image.Transpose.ROTATE_90)
SIDE = 64


def normalized(image: Image.Image, mean: list[float], std: list[float]) -> Any:
    return ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)


def cut(image: Image.Image, resample: Any) -> Image.Image:
    """The shorter side to 64, then the middle."""
    scale = SIDE / min(image.size)
    small = image.resize(tuple(int(s * scale) for s in image.size), resample)  # type: ignore[arg-type]
    left, top = (round((s - SIDE) / 2) for s in small.size)
    return small.crop((left, top, left + SIDE, top + SIDE))


@pytest.mark.parametrize("picture", [WIDE, TALL])
def test_clip_takes_the_middle_after_one_bicubic_resize(picture: Image.Image) -> None:
    judge = OpenClip("clip", "embedded:clip-judge")
    said = json.loads((judge.folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    seen = judge._parts[1](picture).numpy()
    by_hand = normalized(cut(picture, Image.Resampling.BICUBIC), said["mean"], said["std"])
    assert seen == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("picture", [WIDE, TALL])
def test_dino_resizes_the_whole_picture(picture: Image.Image) -> None:
    judge = Dino("dino", "embedded:dino-judge")
    said = json.loads((judge.folder / "preprocessor_config.json").read_text())
    seen = as_trained([picture], judge.folder)[0]
    by_hand = normalized(picture.resize((SIDE, SIDE), said["resample"]), said["image_mean"], said["image_std"])
    assert seen == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("judge", [Blip2("b", "embedded:blip2-judge"), Blip1("b", "embedded:blip1-judge")])
def test_blip_resizes_the_whole_picture_once(judge: Any) -> None:
    said = json.loads((judge.folder / "preprocessor_config.json").read_text())
    by_hand = normalized(WIDE.resize((SIDE, SIDE), Image.Resampling.BICUBIC), said["image_mean"], said["image_std"])
    assert judge._pixels([WIDE])[0].numpy() == pytest.approx(by_hand, abs=1e-5)


def test_pixels_are_what_they_are() -> None:
    seen = Pixels("pixels", "").images([WIDE])[0]
    assert seen == pytest.approx(np.asarray(WIDE.resize((32, 32)), np.float32).ravel() / 255, abs=1e-6)


@pytest.mark.parametrize("picture", [WIDE, TALL])
def test_dreambooths_dino_sees_the_middle_of_256(picture: Image.Image, tmp_path: Path) -> None:
    """Its evaluation's steps, torchvision's Resize(256, bicubic) and CenterCrop(224), as a folder states them."""
    from torchvision.transforms import functional

    said = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    resized = functional.resize(picture, 256, functional.InterpolationMode.BICUBIC)  # type: ignore[arg-type]
    by_hand = normalized(functional.center_crop(resized, [224, 224]), said["image_mean"], said["image_std"])  # type: ignore[arg-type]
    assert as_trained([picture], tmp_path)[0] == pytest.approx(by_hand, abs=1e-5)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small CLIPModel of random weights, laid out as PickScore is published."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    from bench.backbone.files import resolve

    folder = tmp_path_factory.mktemp("pickscore")
    tokenizer = CLIPTokenizer.from_pretrained(resolve("embedded:sticker-unet") / "tokenizer")
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                     "num_attention_heads": 2, "max_position_embeddings": 24, "eos_token_id": tokenizer.eos_token_id},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 8}, projection_dim=16)  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_clip_of_transformers_scores_as_its_own_class_does(clip_folder: Any) -> None:
    """Preference models are used so: logits are the cosine times the temperature."""
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    judge = Clip("pickscore", str(clip_folder))
    pictures, texts = [WIDE, TALL], ["a cat in the snow", "a very " * 30 + "long caption"]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    words = CLIPTokenizer.from_pretrained(clip_folder)(
        texts, padding="max_length", max_length=24, truncation=True, return_tensors="pt"
    )
    pixels = torch.from_numpy(as_trained(pictures, clip_folder))
    with torch.no_grad():
        logits = model(**words, pixel_values=pixels).logits_per_image / model.logit_scale.exp()
    ours = judge.images(pictures) @ judge.texts(texts).T
    assert ours == pytest.approx(logits.numpy(), abs=1e-5)
    alone = np.concatenate([judge.images([p]) for p in pictures])
    assert judge.images(pictures) == pytest.approx(alone, abs=1e-5)
