"""What is put on a backbone under a name and switched: LoRAs, words and weight changes."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.backbone.delta import Deltas
from bench.backbone.gate import Gate, Gating
from bench.backbone.place import Placement
from bench.backbone.prompts import Prompts
from bench.backbone.token import ConceptToken
from bench.errors import BenchError


@contextmanager
def _several_adapters() -> Iterator[None]:
    """Several adapters on one model, and taking off the one in use, are what we want; PEFT warns of both."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted")
        yield


def _float_factors(network: nn.Module, name: str) -> None:
    """Makes a LoRA's factors float32; autocast then rounds them, and PEFT must not raise the input instead."""
    for module in network.modules():
        if name in getattr(module, "lora_A", {}):
            module.lora_A[name].float()
            module.lora_B[name].float()
            module.cast_input_dtype_enabled = False


class Adapted(ABC):
    """A frozen network with named things on it, of which those that are `active` act.

    Attributes:
        tokens: name → word.
        standing: words that are part of the model.
        loras: name → a LoRA's factors.
        lora_weights: name → how strongly a LoRA acts; 1 where it is not named.
        trainable: names of the LoRAs that train.
        active: names of what acts.
    """

    family: ClassVar[str]
    kinds: ClassVar[dict[str, str]]  # kind of weights → what their modules' names match
    placement: Placement
    prompts: Prompts

    def nothing_on(self) -> None:
        """Begins with nothing on the network."""
        self.tokens: dict[str, ConceptToken] = {}
        self.standing: list[ConceptToken] = []
        self.loras: dict[str, list[nn.Parameter]] = {}
        self.lora_weights: dict[str, float] = {}
        self.trainable: set[str] = set()
        self.active: tuple[str, ...] = ()
        self._layers: list[Any] = []  # the modules that LoRAs lie on
        self._chosen: tuple[tuple[str, float], ...] = ()  # the LoRAs that these last acted with, and how strongly
        self.deltas, self.gating = Deltas(self.denoiser), Gating()

    @property
    @abstractmethod
    def denoiser(self) -> Any:
        """The network that adapters are put on."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the network is."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """What it computes in."""

    # --- words -----------------------------------------------------------------------------------

    def known_tokens(self) -> list[ConceptToken]:
        """Returns the words on the backbone, those that are part of the model first."""
        return [*self.standing, *self.tokens.values()]

    def active_tokens(self) -> list[ConceptToken]:
        """Returns the words in use."""
        return [*self.standing, *(self.tokens[n] for n in self.active if n in self.tokens)]

    def add_token(self, name: str, token: ConceptToken) -> None:
        """Puts a word on the backbone; it is used where `using` names it."""
        self.tokens[name] = token

    # --- LoRA and weight changes -----------------------------------------------------------------

    def modules(self, kind: str) -> list[str]:
        """Returns the names of the linear and convolutional modules of a kind, as `kinds` has them."""
        if kind not in self.kinds:
            raise BenchError(f"weights={kind}: a {self.family} model has {', '.join(self.kinds)}")
        plain = (
            n.removesuffix(".base_layer")  # where a LoRA lies on it
            for n, m in self.denoiser.named_modules()
            if isinstance(m, nn.Linear | nn.Conv2d) and "lora_" not in n
        )
        return [n for n in plain if re.search(self.kinds[kind], n)]

    def add_lora(self, name: str, rank: int, targets: Sequence[str], init: str | bool = True) -> list[nn.Parameter]:
        """Puts new trainable LoRA factors (alpha = rank) on the denoiser and returns them."""
        from peft import LoraConfig

        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), init_lora_weights=init)
        with _several_adapters():
            self.denoiser.add_adapter(config, adapter_name=name)
        if self.dtype != torch.float32:  # PEFT gives factors the network's precision
            _float_factors(self.denoiser, name)
        self.trainable.add(name)
        return self._added(name)

    def load_lora(self, name: str, state: dict[str, Tensor], weight: float = 1.0, gate: Gate | None = None) -> None:
        """Puts saved LoRA factors on the denoiser, to act at a weight, or by a gate."""
        here = {k: v.to(self.device, self.dtype) for k, v in state.items()}
        with _several_adapters():
            self.denoiser.load_lora_adapter(here, prefix=None, adapter_name=name)
        self.lora_weights[name] = weight
        self._added(name)
        if gate:
            self.gating.watch(self.denoiser, name, gate)

    def _added(self, name: str) -> list[nn.Parameter]:
        """Enters a LoRA under its name and switches it off again: adding one switches it on."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.loras[name] = [p for n, p in self.denoiser.named_parameters() if f".{name}." in n and "lora_" in n]
        self._layers, self._chosen = [m for m in self.denoiser.modules() if isinstance(m, BaseTunerLayer)], ()
        self.active = ("",)
        self._activate(())
        self._let_train()
        return self.loras[name]

    def lora_state(self, name: str) -> dict[str, Tensor]:
        """Returns the LoRA factors by the names diffusers saves them under."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.denoiser, adapter_name=name)
        return {k: v.detach().to("cpu", copy=True) for k, v in state.items()}

    def freeze(self, name: str) -> None:
        """Ends the training of a LoRA, a word or a set of weight changes."""
        self.trainable.discard(name)
        deltas = [d.value for d in self.deltas.sets.get(name, {}).values()]
        for parameter in self.loras.get(name) or deltas or self.tokens[name].parameters():
            parameter.requires_grad_(False)

    # --- switching -------------------------------------------------------------------------------

    @contextmanager
    def using(self, names: Sequence[str]) -> Iterator[None]:
        """Switches to exactly these LoRAs, words and weight changes; none is the frozen model."""
        before = self.active
        self._activate(tuple(names))
        try:
            yield
        finally:
            self._activate(before)

    def _activate(self, names: tuple[str, ...]) -> None:
        made = {*self.loras, *self.tokens, *self.deltas.sets}
        if unknown := sorted(set(names) - made):
            there = ", ".join(sorted(made)) or "nothing"
            raise BenchError(f"using={list(names)}: nothing named {unknown} was made; there is {there}")
        if names == self.active:
            return
        self.deltas.switch(names)
        chosen = tuple((n, self.lora_weights.get(n, 1.0)) for n in names if n in self.loras)
        if chosen and chosen != self._chosen:
            self.denoiser.set_adapters([n for n, _ in chosen], [w for _, w in chosen])
            self._chosen = chosen
            self._let_train()
        # PEFT's own switch walks the whole network and freezes what it switches off: a step of training with several
        # predictions would spend a tenth of its time there, and a gradient may still be on its way to the factors.
        for layer in self._layers:
            layer._disable_adapters = not chosen
        self.active = names

    def _let_train(self) -> None:
        """Lets the factors that train have gradients, whatever PEFT made of them, and no others."""
        for name, parameters in self.loras.items():
            for parameter in parameters:
                parameter.requires_grad_(name in self.trainable)

    def clear(self) -> None:
        """Takes everything off the backbone again; a placeholder's text is then read as any other text."""
        self._activate(())
        if self.placement.compile and self.loras:
            torch.compiler.reset()  # or the code of every adapter there was is tried before it is compiled anew
        with _several_adapters():
            for name in sorted(self.loras):
                self.denoiser.delete_adapters(name)
        self.deltas.clear()
        self._layers, self._chosen = [], ()
        for kept in (self.loras, self.lora_weights, self.trainable, self.tokens, self.gating.gates):
            kept.clear()
        self.prompts.clear()
