"""LoRA files of diffusers, PEFT and kohya → factors by the names diffusers gives them inside the denoiser."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
KOHYA, PEFT = ("lora_unet_", "lora_transformer_"), "base_model.model."
TOWERS = ("text_encoder", "lora_te", f"{PEFT}text_model", "text_model", "te.")
OTHERS = {"dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "hada_": "LoHa", "lokr_": "LoKr", "oft_": "OFT"}
SIDES = {"lora_A": "A", "lora_down": "A", "lora_B": "B", "lora_up": "B"}
FACTOR = re.compile(r"(.+)\.(lora_A|lora_B|lora_down|lora_up)(?:\.default)?\.weight")


def factors(
    state: Mapping[str, Tensor], config: Mapping[str, Any], shapes: Mapping[str, Shape], pipeline: str
) -> tuple[dict[str, Tensor], str]:
    """Returns a LoRA's factors with alpha made part of them, and the layout they came in.

    Args:
        state: the file's tensors.
        config: of the LoRA as PEFT states it; may be empty.
        shapes: module → shape of its weight, of the denoiser it is to lie on.
        pipeline: the class of the model's pipeline, whose names the file may have.

    Raises:
        BenchError: it is no LoRA on this denoiser alone; the message goes behind the file's name.
    """
    _refuse(state, config)
    if odd := [k for k, v in state.items() if k.endswith(".alpha") and v.numel() != 1]:
        raise BenchError(f"{odd[0]}: one number would be right")
    named, layout = _named(state, shapes, pipeline)
    alphas = {k.removesuffix(".alpha"): float(v) for k, v in named.items() if k.endswith(".alpha")}
    sides: dict[str, dict[str, Tensor]] = {}
    for key, value in named.items():
        if match := FACTOR.fullmatch(key):
            sides.setdefault(match[1], {})[SIDES[match[2]]] = value.float()
        elif not key.endswith(".alpha"):
            raise BenchError(
                f"tensor {key!r} is of no LoRA; lora_A and lora_B, or lora_down and lora_up, would be right"
            )
    if foreign := [m for m in sides if m not in shapes]:
        where = f"{len(foreign)} of its {len(sides)} modules are not in this model, {foreign[0]!r} the first"
        raise BenchError(f"{where}: it was trained on another base model")
    out: dict[str, Tensor] = {}
    for module, pair in sorted(sides.items()):
        rank = _rank(module, pair, shapes[module])
        alpha = alphas.get(module, config.get("lora_alpha", rank))
        scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
        out |= {f"{module}.lora_A.weight": pair["A"], f"{module}.lora_B.weight": pair["B"] * scale}
    if not all(bool(v.isfinite().all()) for v in out.values()):
        raise BenchError("a factor is not finite")
    return out, layout


def _refuse(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Refuses what is no LoRA on a denoiser alone."""
    if not state:
        raise BenchError("no tensor in it")
    for mark, name in OTHERS.items():
        if any(mark in k for k in state):
            raise BenchError(f"{name}, not LoRA; a plain LoRA would be right")
    if towers := [k for k in state if k.startswith(TOWERS)]:
        where = f"{len(towers)} tensors are of a text encoder, {towers[0]!r} the first"
        raise BenchError(f"{where}; a LoRA on the denoiser alone would be right")
    if config.get("use_dora") or config.get("alpha_pattern"):
        raise BenchError("its config states use_dora or alpha_pattern; one alpha for all would be right")


def _named(
    state: Mapping[str, Tensor], shapes: Mapping[str, Shape], pipeline: str
) -> tuple[dict[str, Tensor], str]:  # fmt: skip
    """Returns tensors by the denoiser's own module names, and the layout."""
    if all(k.startswith(KOHYA) for k in state):  # dots became underscores: only the model itself knows which
        modules = {f"{start}{m.replace('.', '_')}": m for start in KOHYA for m in shapes}
        split = [(k.partition("."), v) for k, v in state.items()]
        if any(stem in modules for (stem, _, _), _ in split):
            return {f"{modules.get(stem, stem)}.{rest}": v for (stem, _, rest), v in split}, "kohya"
        return _bare(_renamed(state, shapes, pipeline)), "kohya"
    return _bare(state), "PEFT" if all(k.startswith(PEFT) for k in state) else "diffusers"


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors by their modules alone, of files of diffusers and PEFT."""
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    within = re.compile(rf"^({re.escape(PEFT)})?((unet|transformer)\.)?")
    return convert_unet_state_dict_to_peft({within.sub("", k).replace(".processor.", "."): v for k, v in state.items()})


def _renamed(state: Mapping[str, Tensor], shapes: Mapping[str, Shape], pipeline: str) -> dict[str, Tensor]:
    """Returns a file whose modules go by the names of the model's authors (of SDXL, FLUX.1) as diffusers names them."""
    import diffusers

    layers = len({m.split(".")[3] for m in shapes if m.startswith("down_blocks.0.resnets.")})
    about = {"unet_config": SimpleNamespace(layers_per_block=layers)} if layers else {}
    try:
        found = getattr(diffusers, pipeline).lora_state_dict(_scaled(state), **about)
    except Exception:  # of names and shapes that it does not know, one after the other
        return dict(state)
    return dict(found[0] if isinstance(found, tuple) else found)


def _scaled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a file of kohya's with alpha made part of the factors: diffusers keeps it under names of its own."""
    out = {k: v for k, v in state.items() if not k.endswith(".alpha")}
    for key in state.keys() - out.keys():
        up, down = (f"{key.removesuffix('alpha')}lora_{side}.weight" for side in ("up", "down"))
        if up in out and down in out:
            out[up] = out[up].float() * float(state[key]) / max(1, len(out[down]))
    return out


def _rank(module: str, pair: dict[str, Tensor], weight: Shape) -> int:
    """Returns the rank of a pair of factors that fit a weight."""
    if set(pair) != {"A", "B"}:
        raise BenchError(f"{module}: lora_{'B' if 'A' in pair else 'A'} is missing")
    a, b = tuple(pair["A"].shape), tuple(pair["B"].shape)
    rank = a[0] if a else 0
    wanted = (rank, *weight[1:]), (weight[0], rank, *(1 for _ in weight[2:]))
    if rank < 1 or (a, b) != wanted:
        raise BenchError(f"{module}: factors of shape {a} and {b} do not fit its weight {weight}: another base model's")
    return rank


def config_of(path: Path, metadata: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Returns what is stated of a LoRA beside its tensors: in its header, as diffusers does, or in PEFT's file.

    Raises:
        BenchError: it cannot be read.
    """
    beside = path.with_name("adapter_config.json")
    try:
        if "lora_adapter_metadata" in metadata:
            said = json.loads(metadata["lora_adapter_metadata"])
            config = {k.removeprefix(f"{prefix}."): v for k, v in said.items()}
        elif beside.is_file() and beside.stat().st_size < 2**20:
            config = json.loads(beside.read_text(encoding="utf-8"))
        else:
            return {}
        alpha = config.get("lora_alpha")
        if alpha is not None and not (isinstance(alpha, int | float) and 0 < alpha < 1e6):
            raise ValueError(f"lora_alpha={alpha!r}")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BenchError(f"{path}: its LoRA config cannot be read ({str(error)[:80]})") from None
    return {k: config[k] for k in ("lora_alpha", "use_rslora", "use_dora", "alpha_pattern") if k in config}


def ranks(named: Mapping[str, Tensor]) -> dict[int, int]:
    """Returns rank → number of modules."""
    return dict(Counter(int(v.shape[0]) for k, v in named.items() if k.endswith("lora_A.weight")))
