"""The store: what is there is whole, what was interrupted goes on, what is damaged is made again."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.judges.features import FeatureCache
from bench.store import CLOCK, DONE, Store, key_of, write_text


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def _make(store: Store, text: str = "hello", key: str = "k") -> None:
    def fill(folder: Path) -> None:
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "a.txt").write_text(text)
        (folder / "deep" / "b.txt").write_text(text)

    store.once("stage", key, {"why": "test"}, fill)


def test_a_finished_stage_is_there(store: Store) -> None:
    assert not store.has("stage", "k")
    _make(store)
    assert store.has("stage", "k")
    assert not store.has("stage", "other")
    assert not store.has("other", "k")
    assert (store.path("stage", "k") / "deep" / "b.txt").read_text() == "hello"


def test_an_interrupted_stage_is_not_there_and_goes_on(store: Store) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "1.txt").write_text("kept")
        raise KeyboardInterrupt

    def whole(folder: Path) -> None:
        assert (folder / "1.txt").read_text() == "kept"
        (folder / "2.txt").write_text("new")

    with pytest.raises(KeyboardInterrupt):
        store.once("stage", "k", {}, interrupted)
    assert not store.has("stage", "k")
    assert not store.path("stage", "k").exists()
    store.once("stage", "k", {}, whole)
    assert store.has("stage", "k")
    assert {p.name for p in store.path("stage", "k").iterdir()} == {"1.txt", "2.txt", DONE}
    assert not list(store.path("stage", "k").parent.glob("*.partial"))


def test_the_seconds_of_a_stage_are_those_of_all_its_attempts(store: Store) -> None:
    def killed(folder: Path) -> None:
        begun = (folder / CLOCK).stat().st_mtime
        written = folder / f"{len(list(folder.iterdir()))}.txt"
        written.write_text("kept")
        os.utime(written, (begun + 100, begun + 100))  # the last file of an attempt of 100 s
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            store.once("stage", "k", {}, killed)
        for path in store.path("stage", "k.partial").iterdir():  # as if that were long ago
            os.utime(path, (path.stat().st_mtime - 1000, path.stat().st_mtime - 1000))
    store.once("stage", "k", {}, lambda folder: None)
    assert 200 <= (store.seconds("stage", "k") or 0) < 210
    assert {p.name for p in store.path("stage", "k").iterdir()} == {"1.txt", "2.txt", DONE}


@pytest.mark.parametrize("damage", ["a.txt", "deep/b.txt", DONE])
@pytest.mark.parametrize("how", ["truncate", "remove"])
def test_damage_is_seen_and_made_again(store: Store, damage: str, how: str) -> None:
    _make(store)
    path = store.path("stage", "k") / damage
    if how == "truncate":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.unlink()
    assert not store.has("stage", "k")
    _make(store, "again")
    assert store.has("stage", "k")
    assert (store.path("stage", "k") / "a.txt").read_text() == "again"


def test_damage_twice_is_made_again_twice(store: Store) -> None:
    for text in ("one", "two", "three"):
        _make(store, text)
        assert store.has("stage", "k")
        (store.path("stage", "k") / "a.txt").unlink()
    _make(store, "four")
    assert (store.path("stage", "k") / "a.txt").read_text() == "four"


def _slow_writer(root: Path, name: str) -> None:
    def fill(folder: Path) -> None:
        with (root / "began.txt").open("a") as f:
            f.write(f"{name}\n")
        time.sleep(0.5)
        (folder / "who.txt").write_text(name)

    Store(root).once("stage", "k", {}, fill)


def test_of_two_writers_of_one_stage_one_does_the_work(store: Store) -> None:
    """The second waits for the first, then finds the stage done."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_slow_writer, args=(store.root, name)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0, 0]
    assert store.has("stage", "k")
    (began,) = (store.root / "began.txt").read_text().split()
    assert (store.path("stage", "k") / "who.txt").read_text() == began
    assert not list(store.path("stage", "k").parent.glob("*.damaged-*"))
    assert not list(store.path("stage", "k").parent.glob("*.partial"))


def test_the_log_counts_what_was_made(store: Store) -> None:
    for key in ("k", "other", "k"):
        _make(store, key=key)
    (store.path("stage", "k") / "a.txt").unlink()
    _make(store)
    lines = [json.loads(line) for line in (store.root / "store" / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["key"]) for line in lines] == [("stage", "k"), ("stage", "other"), ("stage", "k")]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "row.json"
    write_text(path, "old")
    original = Path.write_text

    def cut_short(self: Path, text: str, **options: str) -> int:
        original(self, text[:2], **options)
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", cut_short)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "a new and longer text")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "row.json"
    write_text(path, "old")
    seen = []
    original = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((path.read_text(), self.read_text(), self.parent == path.parent))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_text(path, "new")
    assert seen == [("old", "new", True)]  # all is written, in the same folder, before the name moves
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["row.json"]


def test_a_key_leaves_no_folder(store: Store) -> None:
    for key in ("../../secret", "/etc", "a/b", ".hidden"):
        with pytest.raises(BenchError, match="key"):
            store.path("train", key)


def test_keys_follow_content_and_not_order() -> None:
    key = key_of({"a": 1, "b": {"c": [1, 2], "d": "x"}})
    assert key_of({"b": {"d": "x", "c": [1, 2]}, "a": 1}) == key
    assert key_of({"b": {"d": "x", "c": (1, 2)}, "a": 1}) == key
    changed = [
        {"a": 2, "b": {"c": [1, 2], "d": "x"}},
        {"a": 1, "b": {"c": [2, 1], "d": "x"}},
        {"a": 1, "b": {"c": [1, 2]}},
    ]
    assert key not in {key_of(c) for c in changed}
    assert key_of({"a": 1}) == "f9d86028c6e0d64e"  # for ever: a store of yesterday is read today


def test_writers_of_one_file_do_not_take_each_others_halves(tmp_path: Path) -> None:
    """Two machines may give two processes one number; threads stand for them here."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: write_text(tmp_path / "x", f"{k}" * 999), range(400)))
    text = (tmp_path / "x").read_text()
    assert text == text[: len(text) // 999] * 999
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_cache_that_is_damaged_beyond_its_first_page_is_begun_anew(tmp_path: Path) -> None:
    class Judge:
        name, fingerprint = "j", "f"

        def texts(self, texts: list[str]) -> np.ndarray:
            return np.array([[len(t), 1.0] for t in texts], np.float32)

    texts, path = ["a" * k for k in range(1, 900)], tmp_path / "features.sqlite"
    cache = FeatureCache(path)
    found = cache.texts(Judge(), texts)  # type: ignore[arg-type]
    cache.close()
    content = bytearray(path.read_bytes())
    content[8192 : len(content) // 2] = bytes(len(content) // 2 - 8192)
    path.write_bytes(content)
    cache = FeatureCache(path)
    np.testing.assert_array_equal(cache.texts(Judge(), texts), found)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("features.sqlite.damaged-*"))) == 1
