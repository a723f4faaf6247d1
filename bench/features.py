"""Encoders, and a cache of their features that knows pictures by their bytes and encoders by their weights."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.backbone.files import check_files, fingerprint, resolve
from bench.csd import Csd
from bench.errors import BenchError
from bench.matching import Blip1, Blip2
from bench.pictures import as_trained, read_picture
from bench.progress import quiet_libraries, track
from bench.reader import Reader

if TYPE_CHECKING:
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.float32]]


class Known(Protocol):
    """What the cache asks of any judge."""

    name: str
    fingerprint: str


class Encoder(Known, Protocol):
    """A judge: pictures (and, for some, texts) to unit-length features."""

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length features (n, d)."""
        ...


class OpenClip:
    """A CLIP through open_clip; features are unit-length, so a dot product is the cosine (0–1 scale, no weights)."""

    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.folder = name, resolve(path)
        check_files(self.folder)
        self.fingerprint = fingerprint(self.folder)
        self._parts: tuple[Any, Any, Any] | None = None

    def _load(self) -> tuple[Any, Any, Any]:
        if self._parts is None:
            import open_clip

            where = f"local-dir:{self.folder}"
            model, preprocess = open_clip.create_model_from_pretrained(where, precision="fp32")
            self._parts = model.eval().to(self.device), preprocess, open_clip.get_tokenizer(where)
        return self._parts

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length image features (n, d)."""
        import torch

        model, preprocess, _ = self._load()
        with torch.no_grad():
            x = torch.stack([preprocess(i) for i in images]).to(self.device)
            return model.encode_image(x, normalize=True).cpu().numpy()

    def texts(self, texts: Sequence[str]) -> Array:
        """Returns unit-length text features (n, d); the tokenizer truncates and keeps the end token."""
        import torch

        model, _, tokenizer = self._load()
        with torch.no_grad():
            return model.encode_text(tokenizer(list(texts)).to(self.device), normalize=True).cpu().numpy()


class Clip:
    """A CLIP through transformers (`CLIPModel`), as preference models are published; features are unit-length."""

    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.folder = name, resolve(path)
        check_files(self.folder)
        self.fingerprint = fingerprint(self.folder)
        self._parts: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        if self._parts is None:
            from transformers import AutoTokenizer, CLIPModel

            quiet_libraries()
            model = CLIPModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
            self._parts = model.float().eval().to(self.device), AutoTokenizer.from_pretrained(self.folder)
        return self._parts

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length image features (n, d)."""
        import torch

        model, _ = self._load()
        with torch.no_grad():
            x = torch.from_numpy(as_trained(images, self.folder)).to(self.device)
            z = model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()

    def texts(self, texts: Sequence[str]) -> Array:
        """Returns unit-length text features (n, d); a text that is too long is cut and keeps its end."""
        import torch

        model, words = self._load()
        longest = model.config.text_config.max_position_embeddings
        with torch.no_grad():
            ids = words(list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
            z = model.text_projection(model.text_model(**ids.to(self.device)).pooler_output)
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()


class Dino:
    """A DINO ViT through transformers; the feature is the class token."""

    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.folder = name, resolve(path)
        check_files(self.folder)
        self.fingerprint = fingerprint(self.folder)
        self._model: Any = None

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns unit-length class-token features (n, d)."""
        import torch

        if self._model is None:
            from transformers import AutoConfig, AutoModel

            quiet_libraries()
            config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
            plain = {"add_pooling_layer": False} if config.model_type == "vit" else {}  # DINOv2 has none
            self._model = AutoModel.from_pretrained(
                self.folder, config=config, local_files_only=True, use_safetensors=True, **plain
            )
            self._model.float().eval().to(self.device)
        with torch.no_grad():
            x = torch.from_numpy(as_trained(images, self.folder)).to(self.device)
            z = self._model(pixel_values=x).last_hidden_state[:, 0]
            return torch.nn.functional.normalize(z, dim=-1).cpu().numpy()


class Pixels:
    """No judge at all: a picture's own pixels, small."""

    SIDE = 32
    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.fingerprint = name, f"pixels-{self.SIDE}-plain"

    def images(self, images: Sequence[Image.Image]) -> Array:
        """Returns values in [0, 1], (n, 32 · 32 · 3), row by row."""
        small = [np.asarray(i.convert("RGB").resize((self.SIDE, self.SIDE)), np.float32) for i in images]
        return np.stack(small).reshape(len(small), -1) / np.float32(255)


Reads = OpenClip | Clip  # judges that embed pictures and texts apart
Matcher = Blip2 | Blip1 | Reader  # judges of a picture and a text together
Judge = Reads | Dino | Csd | Matcher | Pixels
ENCODERS: dict[str, type[Judge]] = {
    "open_clip": OpenClip, "clip": Clip, "dino": Dino, "blip2": Blip2, "blip1": Blip1, "oracle": Reader,
    "pixels": Pixels, "csd": Csd,
}  # fmt: skip


def build(spec: dict[str, str], device: str = "cpu") -> Judge:
    """Builds an encoder of a dataset's config (`kind`, `name`, `path`); it judges in float32 wherever it is.

    Raises:
        BenchError: the kind is unknown or its folder is missing or damaged.
    """
    if spec["kind"] not in ENCODERS:
        raise BenchError(f"encoder kind {spec['kind']!r}; one of {', '.join(ENCODERS)} would be right")
    judge = ENCODERS[spec["kind"]](spec["name"], spec.get("path", ""))
    judge.device = device
    if device == "cuda":
        from bench.backbone.place import exact

        exact()
    return judge


class FeatureCache:
    """Features in one SQLite file, keyed by content: every picture is encoded once an encoder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=60)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS feature"
            " (encoder TEXT, content TEXT, value BLOB, PRIMARY KEY (encoder, content))"
        )

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def images(self, encoder: Encoder, paths: Sequence[Path]) -> Array:
        """Returns the features (n, d) of picture files."""

        def read(indices: list[int]) -> Array:
            return encoder.images([read_picture(paths[i]) for i in indices])

        return self._get(encoder, [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths], read)

    def texts(self, encoder: Reads, texts: Sequence[str]) -> Array:
        """Returns the features (n, d) of texts."""
        keys = ["text:" + hashlib.sha256(t.encode()).hexdigest() for t in texts]
        return self._get(encoder, keys, lambda indices: encoder.texts([texts[i] for i in indices]))

    def pairs(self, judge: Matcher, paths: Sequence[Path], texts: Sequence[str]) -> Array:
        """Returns a matcher's scores (n, k) of picture files with their texts."""

        def read(indices: list[int]) -> Array:
            return judge.pairs([read_picture(paths[i]) for i in indices], [texts[i] for i in indices])

        hashes = zip((p.read_bytes() for p in paths), texts, strict=True)
        return self._get(judge, [hashlib.sha256(b + b"|" + t.encode()).hexdigest() for b, t in hashes], read)

    def _get(self, encoder: Known, keys: list[str], compute: Callable[[list[int]], Array]) -> Array:
        found: dict[str, Array] = {}
        for key in dict.fromkeys(keys):
            row = self._db.execute(
                "SELECT value FROM feature WHERE encoder = ? AND content = ?", (encoder.fingerprint, key)
            ).fetchone()
            if row:
                found[key] = np.frombuffer(row[0], dtype=np.float32)
        todo = [keys.index(k) for k in dict.fromkeys(keys) if k not in found]
        made, count = _batches(todo, compute, encoder.name), -(-len(todo) // 32)
        for batch, values in track(made, f"scoring, {encoder.name}", count):
            for i, value in zip(batch, values, strict=True):
                found[keys[i]] = value.astype(np.float32)
                self._db.execute(
                    "INSERT OR REPLACE INTO feature VALUES (?, ?, ?)",
                    (encoder.fingerprint, keys[i], found[keys[i]].tobytes()),
                )
            self._db.commit()
        return np.stack([found[k] for k in keys]) if keys else np.zeros((0, 0), np.float32)


def _batches(
    todo: list[int], compute: Callable[[list[int]], Array], name: str
) -> Iterator[tuple[Sequence[int], Array]]:
    """Yields indices and what a judge makes of them, a batch at a time, fewer where a GPU's memory runs out."""
    if todo:
        from bench.backbone.batches import in_batches

        yield from in_batches(todo, 32, lambda some: (some, compute(list(some))), f"judge {name}", "model.device=cpu")
