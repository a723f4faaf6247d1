"""What a request says of the machine: only the precision is part of what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.backbone.place import Placement, called, chosen
from bench.compose import compose
from bench.errors import BenchError
from bench.plan import make
from bench.row import Row

ASKED = ["+method=dreambooth_lora", "concept=whole_cat"]
ERASED = ["+method=spm", "concept=erase_cat", "model=sticker-unet", "protocol=full"]


def _keys(*more: str) -> dict[str, str]:
    return make(*compose([*ERASED, *more])).keys


def test_only_the_precision_is_part_of_keys() -> None:
    plain = _keys()
    assert {"words-base", "prefix", "base", "generate", "train"} <= set(plain)
    same = ["model.device=cpu", "model.memory.offload=true", "model.compile=true", "model.batch_size=auto"]
    assert _keys(*same, "model.dtype=float32") == plain
    half = _keys("model.dtype=bfloat16")
    assert not {k for k in plain if plain[k] == half[k]}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("model.device=tpu", "'cpu'"), ("model.dtype=int8", "bfloat16"), ("model.batch_size=0", "batch_size"),
     ("model.memory.offload=maybe", "memory.offload"), ("+model.memory.slicing=true", "slicing")],
)  # fmt: skip
def test_a_wrong_setting_is_named(wrong: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        compose([*ASKED, wrong])


def test_the_device_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert (chosen("auto"), chosen("cpu"), chosen("cuda")) == ("cuda", "cpu", "cuda")
    assert (called("auto"), called("cpu")) == ("cuda, a GPU", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen("auto") == called("auto") == "cpu"
    with pytest.raises(BenchError, match=r"model\.device=cuda: torch sees no GPU"):
        Placement.of({"device": "cuda"})


def test_a_run_in_half_precision_says_so_and_leaves_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = "model.memory={gradient_checkpointing: true, vae_tiling: true, offload: true, drop_text_encoders: true}"
    machine = ["model.device=cpu", "model.dtype=bfloat16", "model.batch_size=auto", memory]
    args = [*ASKED, *run_args(unet_folder(tmp_path / "model"), steps=2), *machine, f"root={tmp_path / 'runs'}"]
    assert main(args) == 0
    (path,) = (tmp_path / "runs").glob("*/*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert (row.status, row.provenance["device"], row.provenance["dtype"]) == ("ok", "cpu", "bfloat16")
    (factors,) = (tmp_path / "runs").glob("store/train/*/*.safetensors")
    assert {v.dtype for v in load_file(factors).values()} == {torch.float32}
    capsys.readouterr()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [*ASKED, *run_args(unet_folder(tmp_path / "model")), "model.device=cuda", f"root={tmp_path / 'runs'}"]
    assert main(args) == 2
    assert "model.device=cuda: torch sees no GPU here" in capsys.readouterr().err
