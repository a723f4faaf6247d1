"""LoRA files made elsewhere: three layouts come to one adapter, as stock diffusers reads them; the rest is refused."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.__main__ import main
from bench.errors import BenchError
from bench.outside.lora_file import modules, read
from bench.outside.lora_layout import factors
from bench.outside.tensor_file import HEADER
from bench.row import Row
from tests import tiny

RANK, ALPHA = 2, 6.0
Model = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny.unet_folder(tmp_path_factory.mktemp("tiny"))
    return {"name": "tiny", "family": "epsilon", "path": str(folder)}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny.flow_folder(tmp_path_factory.mktemp("flow"))
    return {"name": "tiny-flow", "family": "flow", "path": str(folder)}


def _pairs(model: Model, pattern: str) -> dict[str, tuple[Tensor, Tensor]]:
    shapes = {m: s for m, s in modules(model).items() if pattern in m and len(s) == 2 and "text" not in m}
    g = torch.Generator().manual_seed(0)
    drawn = {m: (torch.randn(RANK, i, generator=g), torch.randn(o, RANK, generator=g)) for m, (o, i) in shapes.items()}
    return {m: (0.2 * a, 0.2 * b) for m, (a, b) in drawn.items()}


def _write(path: Path, layout: str, pairs: dict[str, tuple[Tensor, Tensor]], prefix: str = "unet") -> Path:
    path.parent.mkdir(exist_ok=True)
    if layout == "kohya":
        named = {f"lora_unet_{m.replace('.', '_')}": p for m, p in pairs.items()}
        state = {f"{k}.lora_down.weight": a for k, (a, _) in named.items()}
        state |= {f"{k}.lora_up.weight": b for k, (_, b) in named.items()}
        save_file(state | {f"{k}.alpha": torch.tensor(ALPHA) for k in named}, path)
    elif layout == "PEFT":
        state = {f"base_model.model.{m}.lora_A.weight": a for m, (a, _) in pairs.items()}
        save_file(state | {f"base_model.model.{m}.lora_B.weight": b for m, (_, b) in pairs.items()}, path)
        path.with_name("adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA}))
    elif layout == "older diffusers":
        old = {m: f"{prefix}.{m}".replace(".to_out.0", ".to_out") for m in pairs}
        old = {m: k[: (d := k.rindex("."))] + ".processor" + k[d:] + "_lora" for m, k in old.items()}
        state = {f"{old[m]}.down.weight": a for m, (a, _) in pairs.items()}
        save_file(state | {f"{old[m]}.up.weight": b * ALPHA / RANK for m, (_, b) in pairs.items()}, path)
    else:
        state = {f"{prefix}.{m}.lora_A.weight": a for m, (a, _) in pairs.items()}
        from peft import LoraConfig

        stated = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=sorted(pairs)).to_dict()
        said = {f"{prefix}.{k}": list(v) if isinstance(v, set) else v for k, v in stated.items()}
        state |= {f"{prefix}.{m}.lora_B.weight": b for m, (_, b) in pairs.items()}
        save_file(state, path, {"lora_adapter_metadata": json.dumps(said)})
    return path


@pytest.mark.parametrize("layout", ["kohya", "PEFT", "diffusers", "older diffusers"])
def test_a_layout_comes_to_the_same_change_of_the_weights(layout: str, model: Model, tmp_path: Path) -> None:
    pairs = _pairs(model, "attn2.to_")
    assert len(pairs) > 8
    adapter, found = read(_write(tmp_path / "x" / "a.safetensors", layout, pairs), model, 0.5)
    factors = adapter.loras[0].factors
    assert (adapter.loras[0].weight, found in layout) == (0.5, True)
    assert len(factors) == 2 * len(pairs)
    for m, (a, b) in pairs.items():
        change = factors[f"{m}.lora_B.weight"] @ factors[f"{m}.lora_A.weight"]
        torch.testing.assert_close(change, ALPHA / RANK * b @ a)


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_stock_diffusers_makes_the_same_of_the_file(layout: str, model: Model, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    path = _write(tmp_path / "a.safetensors", layout, _pairs(model, "attn1.to_"))
    pipe = StableDiffusionPipeline.from_pretrained(model["path"], safety_checker=None, requires_safety_checker=False)
    pipe.load_lora_weights(path.parent, weight_name=path.name)
    g = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 8, 16, 16, generator=g), torch.randn(1, 77, 128, generator=g)
    with torch.no_grad():
        theirs = pipe.unet(x, 500, text, return_dict=False)[0]
        network = tiny.load_unet(Path(model["path"]))
        plain = network.denoiser(x, 500, text, return_dict=False)[0]
        with read(path, model)[0].applied(network):
            ours = network.denoiser(x, 500, text, return_dict=False)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert float((ours - plain).abs().max()) > 1e-3


def _sgm(module: str) -> str:
    """SDXL's own name of a module of diffusers' U-Net of three blocks with two layers each."""
    if module.startswith("mid_block.attentions.0."):
        return module.replace("mid_block.attentions.0", "middle_block.1")
    kind, block, inner, layer, rest = module.split(".", 4)
    place = {"down_blocks": ("input_blocks", 3 * int(block) + 1), "up_blocks": ("output_blocks", 3 * int(block))}[kind]
    return f"{place[0]}.{place[1] + int(layer)}.{int(inner == 'attentions')}.{rest}"


def test_kohyas_names_of_sdxl_are_its_authors(tmp_path: Path) -> None:
    """Its scripts name modules as the authors' code does; stock diffusers makes the same of the file."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    sizes = {"block_out_channels": (8, 16, 16), "transformer_layers_per_block": (1, 1, 2), "norm_num_groups": 8,
             "attention_head_dim": (1, 2, 2), "cross_attention_dim": 16, "layers_per_block": 2}  # fmt: skip
    kinds = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
             "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}  # fmt: skip
    unet = UNet2DConditionModel(**sizes, **kinds)
    weights = {n.removesuffix(".weight"): tuple(p.shape) for n, p in unet.named_parameters() if n.endswith(".weight")}
    chosen = [m for m in weights if "attentions" in m and m.endswith(("to_q", "to_out.0", "proj_in"))]
    assert len(chosen) > 30
    state = {}
    g = torch.Generator().manual_seed(0)
    for m in chosen:
        stem, (wide, deep) = f"lora_unet_{_sgm(m).replace('.', '_')}", weights[m][:2]
        more = weights[m][2:]
        state[f"{stem}.lora_down.weight"] = torch.randn(RANK, deep, *more, generator=g)
        state[f"{stem}.lora_up.weight"] = torch.randn(wide, RANK, *(1 for _ in more), generator=g)
        state[f"{stem}.alpha"] = torch.tensor(ALPHA)
    named, layout = factors(state, {}, weights, "StableDiffusionXLPipeline")
    assert layout == "kohya"
    assert {k.partition(".lora_")[0] for k in named} == set(chosen)
    found, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(state), unet_config=unet.config)
    unet.load_lora_adapter(found, network_alphas=alphas, prefix="unet")
    for m in chosen:
        theirs = unet.get_submodule(m).get_delta_weight("default_0")
        ours = named[f"{m}.lora_B.weight"].flatten(1) @ named[f"{m}.lora_A.weight"].flatten(1)
        torch.testing.assert_close(ours.reshape(theirs.shape), theirs)


def test_kohyas_names_of_flux_are_its_authors() -> None:
    """There queries, keys and values are one matrix, and a single block's also have its MLP in it."""
    width, g = 3072, torch.Generator().manual_seed(0)
    joint = {"double_blocks_0_img_attn_qkv": (3 * width, width), "single_blocks_1_linear1": (7 * width, width)}
    state = {f"lora_unet_{m}.lora_down.weight": torch.randn(RANK, s[1], generator=g) for m, s in joint.items()}
    state |= {f"lora_unet_{m}.lora_up.weight": torch.randn(s[0], RANK, generator=g) for m, s in joint.items()}
    state |= {f"lora_unet_{m}.alpha": torch.tensor(ALPHA) for m in joint}
    parts = {"transformer_blocks.0": ("attn.to_q", "attn.to_k", "attn.to_v"),
             "single_transformer_blocks.1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}  # fmt: skip
    shapes = {f"{b}.{m}": (4 * width if "mlp" in m else width, width) for b, own in parts.items() for m in own}
    named, _ = factors(state, {}, shapes, "FluxPipeline")
    assert {k.partition(".lora_")[0] for k in named} == set(shapes)
    for (whole, _), (block, own) in zip(joint.items(), parts.items(), strict=True):
        change = torch.cat([named[f"{block}.{m}.lora_B.weight"] @ named[f"{block}.{m}.lora_A.weight"] for m in own])
        up, down = state[f"lora_unet_{whole}.lora_up.weight"], state[f"lora_unet_{whole}.lora_down.weight"]
        torch.testing.assert_close(change, ALPHA / RANK * up @ down, atol=1e-4, rtol=1e-4)


def test_a_transformers_lora_is_read(flow: Model, tmp_path: Path) -> None:
    pairs = _pairs(flow, "attn.to_")
    adapter, _ = read(_write(tmp_path / "a.safetensors", "diffusers", pairs, "transformer"), flow)
    assert len(adapter.loras[0].factors) == 2 * len(pairs)


def _changed(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path, Model], None]:
    def write(path: Path, model: Model) -> None:
        state = load_file(_write(path, "diffusers", _pairs(model, "attn2.to_")))
        change(state)
        save_file(state, path)

    return write


def _bytes(data: bytes) -> Callable[[Path, Model], None]:
    return lambda path, _: path.write_bytes(data) and None


def _head(said: Any, tail: bytes = b"") -> Callable[[Path, Model], None]:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return _bytes(struct.pack("<Q", len(text)) + text + tail)


def _first(state: dict[str, Tensor], part: str) -> str:
    return next(k for k in state if part in k)


def _one(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


WRONG: dict[str, tuple[Callable[[Path, Model], Any], str]] = {
    "nothing there": (lambda path, _: None, "no such file"),
    "empty": (_bytes(b""), "no safetensors file"),
    "a pickle": (_bytes(b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n"), "a pickle"),
    "a zip of torch.save": (_bytes(b"PK\x03\x04" + b"0" * 100), "a pickle"),
    "a header of 1 GB": (_bytes(struct.pack("<Q", 2**30) + b"{" * 100), "its header would have 1073741824 bytes"),
    "a header of 1 GB that is there": (
        lambda path, _: (path.write_bytes(struct.pack("<Q", 2**30)), os.truncate(path, 2**30 + 64)),
        "its header would have 1073741824 bytes",
    ),
    "a header of no bytes": (_head(b""), "its header would have 0 bytes"),
    "no JSON": (_head(b"{" * 50), "header cannot be read"),
    "nested": (_head(b"[" * (HEADER // 2)), "header cannot be read"),
    "a list": (_head([1]), "header is not as it should be"),
    "metadata of numbers": (_head({"__metadata__": {"a": 1}}), "header is not as it should be"),
    "no tensors": (_head({"__metadata__": {}}), "0 tensors"),
    "a shape below 0": (_head(_one([-2, -2], 0, 16), b"0" * 16), "do not agree"),
    "an unknown type": (_head(_one([4], 0, 16, "PICKLE"), b"0" * 16), "do not agree"),
    "more than is there": (_head(_one([2**40], 0, 2**42)), "do not fill it"),
    "a place that lies": (_head(_one([4], 0, 15), b"0" * 15), "do not agree"),
    "something behind": (_head(_one([4], 0, 16), b"0" * 90), "do not fill it"),
    "no LoRA": (_head(_one([4], 0, 16), b"0" * 16), "'a' is of no LoRA"),
    "of a transformer": (
        lambda path, model: _write(path, "diffusers", _pairs(model, "attn2.to_"), "transformer"),
        "a LoRA of a transformer, and tiny has a unet",
    ),
    "another base model's modules": (
        _changed(lambda s: s.update({k.replace("down_blocks.1", "down_blocks.7"): s.pop(k) for k in [*s]})),
        "modules are not in this model",
    ),
    "kohya's of SDXL": (
        lambda path, model: _write(path, "kohya", {"input_blocks_4_1_x": (torch.zeros(2, 4), torch.zeros(4, 2))}),
        "modules are not in this model",
    ),
    "kohya's of nothing": (
        lambda path, model: _write(path, "kohya", {"input_blocks_x": (torch.zeros(2, 4), torch.zeros(4, 2))}),
        "modules are not in this model",
    ),
    "another base model's shapes": (
        _changed(lambda s: s.update({k: torch.zeros(RANK, 768) for k in s if "to_k.lora_A" in k})),
        "do not fit its weight",
    ),
    "a factor alone": (_changed(lambda s: s.pop(_first(s, "lora_B"))), "lora_B is missing"),
    "ranks that differ": (
        _changed(lambda s: s.update({k: torch.zeros(5, s[k].shape[1]) for k in [_first(s, "lora_A")]})),
        "do not fit its weight",
    ),
    "NaN": (_changed(lambda s: s[_first(s, "lora_B")].fill_(float("nan"))), "a factor is not finite"),
    "a text encoder too": (
        _changed(lambda s: s.update({"text_encoder.x.lora_A.weight": torch.zeros(2, 2)})),
        "1 tensors are of a text encoder",
    ),
    "DoRA": (_changed(lambda s: s.update({"unet.x.lora_magnitude_vector": torch.zeros(2)})), "DoRA, not LoRA"),
    "LoHa": (_changed(lambda s: s.update({"lora_unet_x.hada_w1_a": torch.zeros(2)})), "LoHa, not LoRA"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_lora_of_this_model_is_one_line(
    wrong: str, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, says = WRONG[wrong]
    path = tmp_path / "a.safetensors"
    write(path, model)
    root = tmp_path / "runs"
    args = ["concept=poodle", "model=sticker-unet", "model.name=tiny", f"model.path={model['path']}", f"root={root}"]
    assert main(["score", "--lora", str(path), *args]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert says in line
    assert len(line) < 300 + len(str(path))
    assert not root.exists()


def test_a_model_may_be_larger_than_a_file_from_anybody(tmp_path: Path) -> None:
    """SDXL's U-Net is one file of 10 GB."""
    folder = tiny.unet_folder(tmp_path / "m")
    about = {"big.weight": {"dtype": "F32", "shape": [2**16, 2**15], "data_offsets": [0, 2**33]}}
    head = json.dumps(about).encode()
    with (folder / "unet" / "diffusion_pytorch_model.safetensors").open("wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        f.truncate(8 + len(head) + 2**33)  # a hole: it takes no place
    assert modules({"family": "epsilon", "path": str(folder)}) == {"big": (2**16, 2**15)}


def test_a_config_that_cannot_be_read_is_one_line(model: Model, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.safetensors", "PEFT", _pairs(model, "attn2.to_"))
    for said in ("{", "[]", '{"lora_alpha": "x"}', '{"use_dora": true}'):
        path.with_name("adapter_config.json").write_text(said)
        with pytest.raises(BenchError, match=r"a\.safetensors: .*(config|LoRA)"):
            read(path, model)


ARGS = ["concept=whole_cat", "protocol.seeds={concept: 1, class: 1}", "protocol.metrics=[metrics.dino.dino]"]


def test_the_row_says_where_it_came_from(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path / "my cat.safetensors", "kohya", _pairs(model, "attn2.to_"))
    place = ["model=sticker-unet", "model.name=tiny", f"model.path={model['path']}", "model.steps=2"]
    args = ["score", "--lora", str(path), *ARGS, *place, f"root={tmp_path / 'runs'}"]
    assert main([*args, "--trigger", "sks", "--weight", "0.5"]) == 0
    (found,) = (tmp_path / "runs").glob("my-cat/*/row.json")
    row = Row.model_validate_json(found.read_text())
    assert (row.method, row.hyperparameters) == ("my-cat", {"weight": 0.5, "trigger": "sks"})
    assert not {"seconds", "steps"} & set(row.cost)  # nothing was trained
    assert row.provenance["lora"]["file"] == "my cat.safetensors"
    assert len(row.provenance["lora"]["sha256"]) == 64
    assert "score --lora" in row.provenance["command"]
    manifest = next((tmp_path / "runs" / "store" / "generate").glob("*/manifest.json")).read_text()
    assert "sks cat" in manifest
    assert "<new1>" not in manifest
    assert main(["validate", str(found)]) == 0
    assert main([*args, "--trigger", "sks", "--weight", "1.0"]) == 0  # another weight is another run
    assert len(list((tmp_path / "runs").glob("my-cat/*/row.json"))) == 2
    capsys.readouterr()
    assert main(["score", "--trigger", "x", *ARGS]) == 2
    assert main([*args, "--name", "purecc"]) == 2
    assert main([*args, "--trigger", "sks", "concept=erase_cat"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
