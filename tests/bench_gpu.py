"""Training steps, drawing and judging on networks of real size against stock diffusers; `python tests/bench_gpu.py`.

All in one run, with random weights: nothing drawn here means anything. Shares are of the matmul rate measured first.
Without a GPU it says so and ends; `--tiny --device cpu` tries its code on small networks.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from real_size import MODELS, tiny  # noqa: E402

from bench.backbone.base import Backbone  # noqa: E402
from bench.backbone.place import Placement  # noqa: E402
from bench.memory import peak_memory  # noqa: E402
from bench.progress import quiet_libraries  # noqa: E402

RANK, PROMPT = 16, "a <new1> on a beach"


class Bench:
    """One device, and what is measured on it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, self.repeats = options.device, options.repeats
        self.dtype = torch.float32 if self.device == "cpu" else torch.bfloat16
        self.batch, self.steps = options.batch, options.steps
        self.peak = 0.0

    def seconds(self, do: Callable[[], object]) -> float:
        """Returns the median time of a call, after one that does not count."""
        times = []
        for _ in range(self.repeats + 1):
            self._wait()
            begun = time.perf_counter()
            do()
            self._wait()
            times.append(time.perf_counter() - begun)
        return statistics.median(times[1:])

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def matmul(self, side: int) -> float:
        """Measures and returns the device's multiplications and additions a second, in squares of a side."""
        a, b = (torch.randn(side, side, device=self.device, dtype=self.dtype) for _ in range(2))
        self.peak = 2 * side**3 / self.seconds(lambda: a @ b)
        return self.peak

    def share(self, work: float, seconds: float) -> str:
        """Returns which share of that rate some work came to."""
        return f"{work / seconds / self.peak:.0%}"


def backbone_of(pipe: Any, module: str, to: Placement, resolution: int = 0) -> Backbone:
    """Returns the backbone of a pipeline that is there already; its towers read as many tokens as CLIP does."""
    read = import_module(f"bench.backbone.{module}")
    every = [c for c in vars(read).values() if inspect.isclass(c) and issubclass(c, Backbone)]
    found = [c for c in every if c.__module__ == read.__name__]
    known, tokens = inspect.signature(found[0].__init__).parameters, 77 if module in ("flux", "flux2") else 0
    more = {"max_sequence_length": tokens} if "max_sequence_length" in known else {}
    return found[0](pipe, **more, resolution=resolution).place(to)


def _noise(network: Backbone, count: int) -> torch.Tensor:
    from bench.backbone.sample import generators, start

    return start(network, generators(range(count)))


def _times(network: Backbone, count: int) -> torch.Tensor:
    return torch.full((count,), 0.5, device=network.device)


def forward_work(network: Backbone) -> float:
    """Returns the floating-point operations of one forward pass of one picture."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.predict(_noise(network, 1), _times(network, 1), network.encode_prompts([PROMPT]))
    return float(counter.get_total_flops())


def our_step(network: Backbone, batch: int) -> Callable[[], object]:
    """Returns one training step of a LoRA as methods take it."""
    parameters = network.add_lora("bench", RANK, network.modules("attention"))
    return _step(network, parameters, ["bench"], batch)


def _step(network: Backbone, parameters: list[Any], using: list[str], batch: int) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    x_t, t = _noise(network, batch), _times(network, batch)

    def step() -> None:
        with network.using(using):
            predicted = network.predict(x_t, t, network.encode_prompts([PROMPT] * batch))
        (predicted - x_t).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def stock_step(network: Backbone, batch: int) -> Callable[[], object]:
    """Returns the same as diffusers' training scripts take it: PEFT's factors in float32, under autocast."""
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    model = network.denoiser
    targets = network.modules("attention")
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets), adapter_name="stock")
    model.enable_adapters()  # a cleared backbone leaves them off
    cast_training_params(model)
    parameters = [p for n, p in model.named_parameters() if ".stock." in n]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    x_t, t, prompt = _noise(network, batch), _times(network, batch), network.encode_prompts([PROMPT] * batch)
    half = network.dtype != torch.float32

    def step() -> None:
        with torch.autocast(network.device.type, network.dtype) if half else nullcontext():
            predicted = network._forward(x_t.to(network.dtype), t, prompt).float()
        (predicted - x_t).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def training(bench: Bench, network: Backbone, work: float) -> str:
    """Returns a line on a training step; of its work, forward and to the factors through frozen weights."""
    ours = bench.seconds(our_step(network, bench.batch))
    network.clear()
    stock = bench.seconds(stock_step(network, bench.batch))
    network.denoiser.delete_adapters("stock")
    return _line("training step", ours, stock, bench.share(2 * bench.batch * work, ours))


def drawing(bench: Bench, network: Backbone, work: float, scale: float = 5.0) -> str:
    """Returns a line on pictures with classifier-free guidance, two branches in one batch; FLUX has one."""
    prompts, seeds = [PROMPT] * bench.batch, list(range(bench.batch))
    ours = bench.seconds(lambda: network.sample(prompts, seeds, bench.steps, scale))
    own = [torch.Generator().manual_seed(s) for s in seeds]
    asked = {"prompt": prompts, "num_inference_steps": bench.steps, "guidance_scale": scale, "generator": own,
             "height": network.pixels, "width": network.pixels}  # fmt: skip
    stock = bench.seconds(lambda: network.pipe(**asked))
    return _line(
        "drawing", ours, stock, bench.share((1 if network.distilled else 2) * bench.batch * bench.steps * work, ours)
    )


def judging(bench: Bench, folder: Path, layers: int, width: int) -> str:
    """Returns a line on a CLIP ViT-L/14, resizing included, against transformers."""
    from PIL import Image
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from bench.judges.build import build
    from bench.judges.clip import Clip

    vision = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers, "patch_size": 14,
              "num_attention_heads": width // 64, "image_size": 224}  # fmt: skip
    CLIPModel(CLIPConfig(vision_config=vision, projection_dim=768)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    judge = build({"kind": "clip", "name": "random", "path": str(folder)}, bench.device)
    assert isinstance(judge, Clip)
    model = CLIPModel.from_pretrained(folder).eval().to(bench.device)
    judge._parts = model, None  # its words are not read here
    read = CLIPImageProcessor.from_pretrained(folder)
    drawn = np.random.default_rng(0).integers(0, 255, (4 * bench.batch, 512, 512, 3)).astype(np.uint8)
    images = [Image.fromarray(d) for d in drawn]

    def stock() -> Any:
        with torch.no_grad():
            return model.get_image_features(read(images, return_tensors="pt").pixel_values.to(bench.device))

    return _line("judging", bench.seconds(lambda: judge.images(images)), bench.seconds(stock), "")


def _line(what: str, ours: float, stock: float, share: str) -> str:
    return f"| {what} | {ours * 1e3:.1f} | {stock * 1e3:.1f} | {ours / stock:.2f} | {share} |"


def _trainable(network: Backbone) -> dict[str, Callable[[], list[Any]]]:
    """Returns what the families of methods train."""

    def word() -> list[Any]:
        token = network.new_token("<new1>", "cat", False)
        network.add_token("bench", token)
        return list(token.parameters())

    def weights(kind: str) -> list[Any]:
        return network.deltas.add("bench", dict.fromkeys(f"{m}.weight" for m in network.modules(kind)), trainable=True)

    return {
        "a word": word,
        f"LoRA of rank {RANK}": lambda: network.add_lora("bench", RANK, network.modules("attention")),
        "keys and values of the text": lambda: weights("text_kv"),
        "every weight": lambda: weights("all"),
    }


def memory(bench: Bench, network: Backbone) -> list[str]:
    """Returns a line a family of methods: the peak of two training steps of one picture beyond the model itself."""
    lines = []
    held = torch.cuda.memory_allocated() if bench.device == "cuda" else 0
    for what, make in _trainable(network).items():
        try:
            with peak_memory(bench.device) as peak:
                step = _step(network, make(), ["bench"], 1)
                step()
                step()
                said = f"{peak():.0f}"
        except torch.OutOfMemoryError:
            said = "out of memory"
        network.clear()
        gc.collect()
        lines.append(f"| {what} | {held / 2**20:.0f} | {said} |")
    return lines


def main() -> int:
    """Measures and writes the tables. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the tests' small networks")
    parser.add_argument("--models", nargs="+", help=f"of {', '.join(MODELS)}; all of them")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10, help="of sampling")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stdout.write("no GPU here: nothing was measured\n")
        return 0
    if options.device == "cpu" and not options.tiny:
        parser.error("--device cpu is for --tiny")
    quiet_libraries()
    bench = Bench(options)
    where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    rate = bench.matmul(512 if options.tiny else 8192) / 1e12
    dtype = str(bench.dtype).removeprefix("torch.")
    _say(f"{where}, torch {torch.__version__}, {dtype}: matmul {rate:.2f} TFLOP/s; batch {bench.batch}, random weights")
    with tempfile.TemporaryDirectory() as made:
        models = tiny(Path(made)) if options.tiny else MODELS
        for name in options.models or models:
            try:
                _model(bench, name, *models[name], dtype)
            except (torch.OutOfMemoryError, ModuleNotFoundError) as error:
                _say(f"\n{name}: not measured: {str(error).splitlines()[0]}")
            gc.collect()
            if options.device == "cuda":
                torch.cuda.empty_cache()
        _say("\n| a judge | ours, ms | transformers, ms | ratio | |\n|---|---|---|---|---|")
        _say(judging(bench, Path(made) / "clip", *((2, 64) if options.tiny else (24, 1024))))
    return 0


def _model(bench: Bench, name: str, build: Any, module: str, dtype: str) -> None:
    import_module(f"bench.backbone.{module}")
    side = 64 if name in ("tiny-flux", "tiny-klein") else 0  # the network's config states no side
    network = backbone_of(build(bench.device, bench.dtype), module, Placement(bench.device, dtype), side)
    work = forward_work(network)
    _say(f"\n| {name} | ours, ms | diffusers, ms | ratio | of matmul |\n|---|---|---|---|---|")
    _say(drawing(bench, network, work))
    _say(training(bench, network, work))
    _say("\n| what trains, one picture a step | model, MiB | beyond it, MiB |\n|---|---|---|")
    _say("\n".join(memory(bench, network)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
