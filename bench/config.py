"""The shape of a composed configuration: wrong values are named before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from bench.errors import BenchError
from bench.paths import choices, shipped

NAME = r"^\w[\w.-]{0,99}$"  # names become folders


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MemoryConfig(_Strict):
    """`model.memory`: what takes less of a GPU and more time (`bench.backbone.place`)."""

    gradient_checkpointing: bool = False
    vae_tiling: bool = False
    offload: bool = False
    drop_text_encoders: bool = False


class ModelConfig(_Strict):
    """`conf/model`: a diffusers folder, a LoRA that is made part of it, and how it is sampled.

    `resolution` is its pictures' side in pixels, 0 its own square; `licence` is what its authors allow, for people.
    `random` says that its weights were never trained: such a run checks code, and no board takes its row.
    """

    name: str = Field(pattern=NAME)
    family: Literal["flow", "epsilon", "v"]
    path: str
    lora: str | None = None
    max_sequence_length: NonNegativeInt = 0
    resolution: NonNegativeInt = 0
    licence: str = ""
    steps: PositiveInt
    guidance_scale: float = Field(ge=0, allow_inf_nan=False)
    batch_size: PositiveInt | Literal["auto"]
    random: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    memory: MemoryConfig = MemoryConfig()


class EncoderConfig(_Strict):
    """A judge of `conf/dataset`."""

    kind: Literal["open_clip", "clip", "dino", "blip2", "blip1", "oracle", "pixels", "csd"]
    name: str
    path: str = ""


def _several(value: Any) -> Any:
    """Returns one name as a list of it, and an empty one as none."""
    return [value] * bool(value) if isinstance(value, str) else value


class DatasetConfig(_Strict):
    """`conf/dataset`: a folder of concepts, the judges that know its pictures, the concepts values are tuned on, and
    those that no model of it knows (what inversions make of them is the control of what one makes of an erased one);
    `pictures` is where pictures lie that do not come with it, one subfolder a concept.
    """

    name: str
    path: str
    encoders: dict[str, EncoderConfig]
    development: dict[str, list[str]] = {}
    novel: Annotated[list[str], BeforeValidator(_several)] = []
    pictures: str = ""


Seeds = Annotated[int, Field(ge=0, le=10_000)]  # every picture stands in a plan: more would fill the memory


class AttackConfig(_Strict):
    """What an attack may spend: words, steps of gradient, references a step, and pictures a prompt."""

    length: PositiveInt = 1
    steps: PositiveInt = 1
    lr: PositiveFloat = 2e-2
    batch_size: PositiveInt = 4
    seeds: Annotated[Seeds, Field(ge=1)]


class ProtocolConfig(_Strict):
    """`conf/protocol`: pictures a prompt by channel, attacks on what was erased, what is measured, and by kind what
    tuning looks for.
    """

    name: str
    seeds: dict[str, Seeds]
    attacks: dict[Literal["words", "prefix", "inversion"], AttackConfig] | None = None
    metrics: list[str] = Field(min_length=1)
    objective: dict[str, dict[str, float]] = {}


def _text(value: Any) -> Any:
    """Returns a name that Hydra reads as a number as the text it is."""
    return str(value) if type(value) is int else value


class RunConfig(BaseModel):
    """One run; what the method's own fields may be is the method's to say."""

    model_config = ConfigDict(extra="forbid")
    method: dict[str, Any]
    model: ModelConfig
    dataset: DatasetConfig
    protocol: ProtocolConfig
    concept: Annotated[str, BeforeValidator(_text)]
    seed: NonNegativeInt
    root: str
    tuned: Literal["auto", "none"]
    gate: Literal["auto", "open", "closed"] | float = "auto"
    customizer: str = Field(pattern=NAME)


MEANT = {  # the fields by which a group's name would stand for something else
    "model": ("path", "lora", "steps", "guidance_scale", "resolution", "max_sequence_length"),
    "dataset": ("path", "encoders", "novel"),
    "protocol": ("seeds", "attacks", "metrics"),
}


def by_hand(words: Iterable[str]) -> list[str]:
    """Returns the overrides of a command that set a method's hyperparameters, as `method.FIELD=VALUE`; the class that
    a method is named by is none.
    """
    said = (w.lstrip("+~") for w in words)  # ~method.lr leaves a field out, ++method={lr: 1} sets several
    return [o for o in said if o.startswith(("method.", "method={")) and not o.startswith("method._target_=")]


def set_apart(words: Sequence[str]) -> list[str]:
    """Returns the overrides of a command that make a row another's than its names say, which no board holds against
    the others: hyperparameters, values that were not taken, who taught a round trip, and what a model, dataset or
    protocol that keeps its name stands for.
    """
    said = [w.lstrip("+~") for w in words]
    taught = f"customizer={_own()['customizer']}"  # what a round trip starts from stands in no field of a row
    another = (w for w in said if w.startswith("customizer=") and w != taught)
    return [*by_hand(said), *another, *(w for w in said if w == "tuned=none" or _means_another(w, said))]


@cache
def _own() -> dict[str, Any]:
    """Returns what a run has where its command does not say."""
    return yaml.safe_load((shipped("conf") / "config.yaml").read_text(encoding="utf-8"))


def _means_another(word: str, words: Sequence[str]) -> bool:
    """Whether one override of a command makes what it names something else under the same name."""
    group, _, rest = word.partition("=")[0].partition(".")
    field = rest.partition(".")[0]
    named = next((w.partition("=")[2] for w in reversed(words) if w.startswith(f"{group}.name=")), "")
    if not field and group in MEANT and word.partition("=")[2].startswith("{"):
        return True
    if field == "name" and group in MEANT:
        return named in choices(group) and named != _chosen(group, words)
    if field not in MEANT.get(group, ()) or (named and named not in choices(group)):
        return False
    return field != "path" or _embedded(group, words)


def _chosen(group: str, words: Sequence[str]) -> str:
    """Returns which of a group a command takes; nothing where it names none."""
    return next((w.partition("=")[2] for w in words if w.startswith(f"{group}=")), "")


def _embedded(group: str, words: Sequence[str]) -> bool:
    """Whether what a command takes of a group is shipped, so that its path is what its name stands for."""
    name = _chosen(group, words)
    path = shipped("conf") / group / f"{name}.yaml"
    if not re.fullmatch(NAME, name) or not path.is_file():
        return not name  # the harness's own, where none is named
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    return str(said.get("path", "")).startswith("embedded:")


def check_names(config: dict[str, Any], chosen: Mapping[str, str]) -> None:
    """Checks that nothing goes by the name of another model, dataset or protocol of the harness.

    Args:
        config: a composed configuration.
        chosen: group → which of it was taken.

    Raises:
        BenchError: one does: its rows would stand among the other's.
    """
    for group in MEANT:
        name = config[group]["name"]
        if name != chosen.get(group) and name in choices(group):
            said = f"{group}.name={name}: the harness has a {group} of this name"
            raise BenchError(f"{said}, and {group}={chosen.get(group)} is another; a name of its own would be right")


def first_error(error: ValidationError) -> str:
    """Returns a validation's first complaint as `field=value: what would be right`."""
    first = error.errors()[0]
    steps = [str(s) for s in first["loc"] if not str(s).startswith("literal[")]  # of several types a field may be of
    others = [e for e in error.errors()[1:] if e["loc"][:1] == first["loc"][:1]]
    more = "".join(f", or {e['msg'][0].lower()}{e['msg'][1:]}" for e in others if e["input"] == first["input"])
    return f"{'.'.join(steps)}={first['input']!r}: {first['msg']}{more}"


def check(config: dict[str, Any]) -> dict[str, Any]:
    """Checks a composed configuration and returns it with every value of its type (`seed=1.0` is 1).

    Raises:
        BenchError: a value is wrong.
    """
    try:
        return RunConfig.model_validate({k: v for k, v in config.items() if not k.startswith("_")}).model_dump()
    except ValidationError as error:
        raise BenchError(first_error(error)) from None
