"""Where a pipeline's parts lie, in which precision they compute, and what is given up for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.backbone.base import Backbone

COMPILER = "inductor"  # backend of torch.compile


@dataclass(frozen=True)
class Placement:
    """What `conf/model` says of the machine; no picture depends on it by more than rounding, but for `dtype`, and for
    tiles where a picture is larger than the autoencoder's own.

    Attributes:
        device: a device of torch.
        dtype: of the frozen networks; what trains is float32 in every case.
        compile: whether the denoiser is compiled for sampling.
        gradient_checkpointing: whether the denoiser's activations are computed again in the backward pass.
        vae_tiling: whether the autoencoder works picture by picture, and large pictures in tiles.
        offload: whether autoencoder and text towers lie in the machine's own memory while they are not used.
        drop_text_encoders: the same for the text towers alone, which prompts need once; where a word trains they stay.
    """

    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False
    gradient_checkpointing: bool = False
    vae_tiling: bool = False
    offload: bool = False
    drop_text_encoders: bool = False

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Placement:
        """Returns the placement of a model's config.

        Raises:
            BenchError: a GPU is asked for, and there is none.
        """
        options = {k: bool(v) for k, v in (model.get("memory") or {}).items()}
        compiled = bool(model.get("compile", False))
        return cls(chosen(model.get("device", "auto")), model.get("dtype", "float32"), compiled, **options)

    @property
    def precision(self) -> torch.dtype:
        """The dtype itself."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def chosen(device: str) -> str:
    """Returns the device that `auto`, `cpu` or `cuda` stands for on this machine.

    Raises:
        BenchError: there is no GPU.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise BenchError("model.device=cuda: torch sees no GPU here; model.device=auto or cpu would be right")
    return ("cuda" if there else "cpu") if device == "auto" else device


def called(device: str) -> str:
    """Returns what a device is called in a row's provenance, one that is not there included."""
    if device == "cpu" or not torch.cuda.is_available():
        return "cuda, which is not there" if device == "cuda" else "cpu"
    return f"cuda, {torch.cuda.get_device_name()}"


def text_towers(pipe: Any) -> list[nn.Module]:
    """Returns the pipeline's text encoders, T5 included."""
    return [m for n, m in pipe.components.items() if n.startswith("text_encoder") and isinstance(m, nn.Module)]


def exact() -> None:
    """Has a GPU's float32 be one, and take the same algorithms in every run."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def put(pipe: Any, denoiser: nn.Module, to: Placement) -> None:
    """Moves a pipeline's parts.

    The autoencoder stays in float32 where float16 would overflow in it, and so do the layers of a T5 that transformers
    keeps in float32.
    """
    if to.device == "cuda":
        exact()
    denoiser.to(to.device, to.precision)
    half = to.precision == torch.float16
    upcast = half and pipe.vae.config.get("force_upcast", True)
    pipe.vae.to("cpu" if to.offload else to.device, torch.float32 if upcast else to.precision)
    for tower in text_towers(pipe):
        tower.to("cpu" if to.offload or to.drop_text_encoders else to.device, to.precision)
        kept = getattr(tower, "_keep_in_fp32_modules", None) or () if half else ()
        for name, module in tower.named_modules():
            if name.rpartition(".")[2] in kept:
                module.float()
    if to.vae_tiling:
        pipe.vae.enable_slicing()
        pipe.vae.enable_tiling()


@contextmanager
def visiting(parts: Sequence[nn.Module], device: torch.device, away: bool, stay: bool) -> Iterator[None]:
    """Has parts that lie `away` on the device for a block; they `stay` where a gradient is still to pass them."""
    if not away:
        yield
        return
    for part in parts:
        part.to(device)
    try:
        yield
    finally:
        for part in () if stay else parts:
            part.to("cpu")


def compiled(backbone: Backbone) -> AbstractContextManager[object]:
    """Has a denoiser that was to be compiled run so, for a block, where that pays; else as it is.

    It pays while pictures are sampled. It is not done where something acts that is looked up anew at every step: gates
    and layer-wise words. LoRAs and weight changes are compiled in, again whenever others are switched to.
    """
    if not backbone.placement.compile:
        return nullcontext()
    plain = not backbone.gating.values and backbone.slots is None
    return torch.compiler.set_stance("default" if backbone.sampling and plain else "force_eager")
