"""What `plan` says of a GPU's memory, against what the networks really are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import bench_of, concept, flow_folder, flux2_folder, sdxl_folder, unet_folder
from torch import nn

from bench import backbone, paths
from bench.__main__ import main
from bench.compose import compose
from bench.forecast import vram
from bench.forecast.past import SHIPPED, Past
from bench.plan import Plan, make

FOLDERS = {
    "flow": flow_folder,
    "sd35": lambda p: flow_folder(p, t5=True),  # two attentions in some blocks, of which LoRAs lie on one
    "epsilon": unet_folder,
    "sdxl": sdxl_folder,
    "klein": flux2_folder,
}


def _need(folder: Path, family: str, method: str, *more: str) -> tuple[Plan, vram.Need]:
    model = ["model=sticker-flow" if family != "epsilon" else "model=sticker-unet", "model.name=tiny"]
    asked = [f"+method={method}", "concept=whole_cat", *model, f"model.path={folder}", f"root={folder}/runs", *more]
    plan = make(*compose(asked))
    return plan, vram.need(plan, plan.trainings[0], Past(folder / "runs"))


@pytest.mark.parametrize("name", FOLDERS)
def test_parts_and_factors_are_counted_exactly(name: str, tmp_path: Path) -> None:
    folder, family = FOLDERS[name](tmp_path / "model"), "epsilon" if name in ("epsilon", "sdxl") else "flow"
    shutil.copytree(folder / "vae", folder / "vae_1_0")  # what else a download brings
    given, more = ((40, None, 64), ("model.max_sequence_length=40", "++model.resolution=64"))
    t5 = ((40,), ("model.max_sequence_length=40",))
    given, more = (given, more) if name == "klein" else t5 if name == "sd35" else ((), ())
    _, found = _need(folder, family, "dco", "method.rank=3", *more)
    network = backbone.load(family, folder, *given)
    parts = [m for m in network.pipe.components.values() if isinstance(m, nn.Module)]
    # what is tied is there once
    numbers = {v.data_ptr(): v.numel() for m in parts for v in m.state_dict().values()}
    assert found.parts == 4 * sum(numbers.values())
    bench = bench_of(network, concept(paths.shipped("datasets") / "stickers", "whole_cat"), tmp_path / "bench")
    assert found.trained == vram.TRAINED * sum(p.numel() for p in bench.lora("lora", 3))


def test_memory_options_take_less(tmp_path: Path) -> None:
    folder = flow_folder(tmp_path / "model")
    _, plain = _need(folder, "flow", "dco")
    _, half = _need(folder, "flow", "dco", "model.dtype=bfloat16")
    assert (half.parts, half.training, half.trained) == (plain.parts / 2, plain.training / 2, plain.trained)
    _, recomputed = _need(folder, "flow", "dco", "model.memory.gradient_checkpointing=true")
    assert recomputed.training < plain.training
    _, dropped = _need(folder, "flow", "dco", "model.memory.drop_text_encoders=true")
    assert dropped.parts == plain.parts  # a word trains, and a gradient passes the text encoders
    still, frozen = (
        _need(folder, "flow", "dco", "method.learn_token=false", *more)[1]
        for more in ([], ["model.memory.drop_text_encoders=true"])
    )
    towers = 4 * sum(vram.count(folder / n) for n in ("text_encoder", "text_encoder_2"))
    assert frozen.parts == still.parts - towers
    assert frozen.picture >= towers  # they visit
    _, away = _need(folder, "flow", "dco", "model.memory.offload=true")
    assert away.parts < plain.parts
    _, larger = _need(folder, "flow", "dco", "method.batch_size=4")
    assert larger.training == 4 * plain.training


def test_tiles_are_as_large_as_the_autoencoders_own_pictures(tmp_path: Path) -> None:
    folder = flow_folder(tmp_path / "model")
    config = folder / "vae/config.json"
    own = json.loads(config.read_text())
    for side, less in ((64, False), (32, True)):
        config.write_text(json.dumps(own | {"sample_size": side}))
        plain, tiled = (_need(folder, "flow", "dco", *m)[1].picture for m in ([], ["model.memory.vae_tiling=true"]))
        assert (tiled < plain) == less


def test_a_method_that_trains_nothing_takes_no_activations(tmp_path: Path) -> None:
    folder = unet_folder(tmp_path / "model")
    _, found = _need(folder, "epsilon", "uce", "concept=erase_cat")
    assert found.trained == found.training == 0
    _, every = _need(folder, "epsilon", "dreambooth")
    assert every.trained >= vram.TRAINED * vram.count(folder / "unet") * 0.9


SD15 = {
    "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
}  # fmt: skip
FLUX: dict[str, Any] = {
    "patch_size": 1, "num_attention_heads": 24, "attention_head_dim": 128, "num_layers": 19, "num_single_layers": 38,
}  # fmt: skip


KLEIN = FLUX | {"num_layers": 5, "num_single_layers": 20}


@pytest.mark.parametrize(("about", "gigabytes"), [(SD15, (0.5, 3)), (FLUX, (20, 40)), (KLEIN, (8, 16))])
def test_activations_of_models_of_real_size_are_of_their_order(
    about: dict[str, Any], gigabytes: tuple[float, float]
) -> None:
    kept, largest = vram.activations(about, about.get("sample_size", 128), 77 + 512)
    assert gigabytes[0] < 2 * kept / 1e9 < gigabytes[1]
    assert largest < kept / 3


def test_plan_says_it_by_model_and_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["plan", "-m", "+method=dco,textual_inversion", "concept=whole_cat", f"root={tmp_path}"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "GPU     dco on sticker-flow in float32: about" in said
    assert "textual_inversion on sticker-flow in float32: about" in said
    assert main([*asked, "model.device=cpu"]) == 0
    assert "GPU" not in capsys.readouterr().out


def test_a_field_that_is_younger_than_a_row_does_not_make_it_another(tmp_path: Path) -> None:
    past = Past(tmp_path)
    row = past.rows_of("dreambooth_lora")[1][0]
    younger = row.hyperparameters | {"younger": 1}
    assert past.like(row.method, row.model, younger)[1] == SHIPPED
    assert "other values" in past.like(row.method, row.model, younger | {"rank": 77})[1]
