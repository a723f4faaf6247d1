"""A board's page: nothing of a row runs, nothing is asked for, and in a browser it sorts, filters and draws."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, browser
from PIL import Image

from bench.boards import page as board_page
from bench.boards import strips
from bench.boards.analysis import analyse
from bench.errors import BenchError
from bench.row import Row, Value

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
EVIL = '<img src=x onerror="document.title=1">'
METHODS = {"dreambooth_lora": (0.5, 0.3), "plain": (0.7, 0.2), "bold": (0.9, 0.1), EVIL: (0.6, 0.15)}
CLOSING = "</script><script>document.title=1</script>"


def _row(method: str, concept: str, seed: int, dino: float, clip: float, **fields: Any) -> Row:
    def value(v: float, group: str) -> Value:
        return Value(value=v, low=v, high=v, n=9, better="higher", checkpoint="judge", version=1, group=group)

    measured = {"dino": value(dino, "fidelity"), "clip_t": value(clip, "prompt following")}
    given = {
        "status": "ok", "method": method, "model": "m", "dataset": "d", "concept": concept, "kind": "subject",
        "protocol": "quick", "seed": seed, "hyperparameters": {}, "tuned": False, "measured": measured,
        "anchors": {"none": {"dino": value(0.1, "fidelity"), "clip_t": value(0.4, "prompt following")}},
        "cost": {"seconds": 10.0 + seed}, "provenance": {"finished": "2026-11-22T10:00:00+0000"},
    }  # fmt: skip
    return Row(**(given | fields))


def rows() -> list[Row]:
    out = [_row(m, c, s, d + 0.01 * i + 0.02 * s, t + 0.02 * i) for m, (d, t) in METHODS.items()
           for i, c in enumerate(("cat", "cow", CLOSING)) for s in (0, 1)]  # fmt: skip
    return [*out, _row("plain", "dog", 0, 0, 0, status="failed", reason=f"it says {CLOSING}", measured={})]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    (folder / "pictures").mkdir()
    Image.new("RGB", (192, 64), (90, 140, 60)).save(folder / "pictures" / "bold-cat-seed0.webp")
    Image.new("RGB", (192, 64), (90, 90, 160)).save(folder / "pictures" / "plain-cow-seed1.webp")
    Image.new("RGB", (128, 64), (90, 90, 90)).save(folder / "pictures" / "none-cat-seed0.webp")
    found = [*rows(), _row("none", "cat", 0, 0.1, 0.4, anchors={}, cost={})]
    (folder / "index.html").write_text(board_page.render(analyse(found), folder / "pictures"), encoding="utf-8")
    return folder / "index.html"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_what_a_row_says_is_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(text)
    assert sum(tag == "script" for tag, _ in reader.tags) == 3  # the data, the library and the page's own
    assert [a for tag, a in reader.tags if any(name.startswith("on") for name in a)] == []
    sources = [a.get("src") for tag, a in reader.tags if tag in ("img", "script", "link") and a.get("src")]
    assert [s[:23] for s in sources] == ["data:image/webp;base64,"] * 5  # beside the method's name, and by concept
    assert [a["href"] for tag, a in reader.tags if "href" in a] == ["data:,", "README.md", "rows/"]
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])
    assert EVIL in {p["method"] for p in data["fronts"][0]["points"]}


def test_it_leads_to_what_lies_beside_it(root: Path) -> None:
    folder = next(p.parent for p in (root / "leaderboards").glob("*/rows"))
    reader = _Reader()
    reader.feed(board_page.render(analyse(rows()), folder / "pictures"))
    links = [a["href"] for tag, a in reader.tags if tag == "a"]
    assert links == ["README.md", "rows/", "../FINDINGS.md", "../CLAIMS.md"]
    assert [x for x in links if x and not (folder / x).exists()] == []


def test_the_column_of_fronts_is_explained(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert f'title="on how many of the {text.count("<canvas")} fronts below' in text
    assert "fronts</em> counts on how many of the fronts above a method is" in text.partition('id="how"')[2]


def test_only_its_own_scripts_may_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "unsafe" not in policy.partition("script-src")[2]
    assert "http" not in policy


def test_a_page_is_light(root: Path) -> None:
    pages = list((root / "leaderboards").glob("*/index.html"))
    assert pages
    pictures = {p: sum(f.stat().st_size for f in (p.parent / "pictures").glob("*.webp")) for p in pages}
    assert [p for p in pages if p.stat().st_size - 4 / 3 * pictures[p] > 400_000] == []


@pytest.mark.parametrize(
    "content", [b"<svg onload=alert(1)>", b"<svg\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBP" + bytes(strips.LARGEST)]
)
def test_a_picture_is_a_small_webp(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bold-cat-seed0.webp").write_bytes(content)
    with pytest.raises(BenchError, match=r"bold-cat-seed0\.webp: a WebP of at most"):
        board_page.render(analyse(rows()), tmp_path)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def _shown(chromium: Browser) -> list[str]:
    return chromium.evaluate("[...document.querySelectorAll('.methods tr')].filter(r => r.checkVisibility())"
                             ".map(r => r.dataset.method)")  # fmt: skip


@needs_browser
def test_it_opens_without_a_request_or_a_complaint(chromium: Browser, page: Path) -> None:
    for dark, phone in ((False, False), (True, True)):
        chromium.open(page, width=390 if phone else 1280, dark=dark, phone=phone)
        assert chromium.evaluate(
            "document.documentElement.scrollWidth <= innerWidth"
        )  # the table scrolls, not the page
        assert chromium.evaluate("[...document.querySelectorAll('canvas')].every(c => Chart.getChart(c))")
        assert chromium.evaluate("document.title") == "subject on d, m"
        assert chromium.requests == [page.resolve().as_uri()]
    assert chromium.complaints == []


@needs_browser
def test_a_board_without_methods_opens_too(chromium: Browser, tmp_path: Path) -> None:
    anchors = [_row("none", c, 0, 0.5, 0.5, anchors={}, measured={}) for c in ("cat", "dog")]
    for index, found in enumerate((anchors, [_row("none", "cat", 0, 0.5, 0.5)])):
        path = tmp_path / f"{index}.html"
        path.write_text(board_page.render(analyse(found), tmp_path), encoding="utf-8")
        chromium.open(path)
    assert chromium.complaints == []


@needs_browser
def test_headings_sort(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert _shown(chromium) == ["bold", "plain", EVIL, "dreambooth_lora"]
    chromium.click("th:nth-child(3) button")  # clip_t
    assert _shown(chromium) == ["dreambooth_lora", "plain", EVIL, "bold"]
    assert chromium.evaluate("document.querySelector('th:nth-child(3)').ariaSort") == "descending"
    chromium.click("th:nth-child(3) button")
    assert _shown(chromium) == ["bold", EVIL, "plain", "dreambooth_lora"]
    chromium.click("th:first-child button")
    assert _shown(chromium)[1:] == ["bold", "dreambooth_lora", "plain"]


@needs_browser
@pytest.mark.parametrize(
    ("better", "best_first"), [("higher", "descending"), ("lower", "ascending"), ("zero", "ascending")]
)
def test_a_heading_says_how_its_numbers_run(chromium: Browser, tmp_path: Path, better: str, best_first: str) -> None:
    def of(v: float) -> dict[str, Value]:
        return {"dino": Value(value=v, low=v, high=v, n=9, better=better, checkpoint="j", version=1)}  # type: ignore[arg-type]

    found = [_row(m, c, 0, 0, 0, measured=of(v)) for m, v in (("a", 0.95), ("b", 0.05)) for c in ("cat", "cow")]
    (tmp_path / "index.html").write_text(board_page.render(analyse(found), tmp_path), encoding="utf-8")
    chromium.open(tmp_path / "index.html")
    said = "[...document.querySelectorAll('thead th[aria-sort]')].map(h => h.ariaSort)[1]"
    other = {"ascending": "descending", "descending": "ascending"}
    best = ["a", "b"] if better == "higher" else ["b", "a"]
    assert (chromium.evaluate(said), _shown(chromium)) == (best_first, best)
    chromium.click("th:nth-child(2) button")
    assert (chromium.evaluate(said), _shown(chromium)) == (other[best_first], best[::-1])
    chromium.click("[data-view=rank]")
    assert chromium.evaluate(said) == "descending"  # 2 before 1, whatever the values do
    chromium.click("th:first-child button")
    assert chromium.evaluate(said) == "none"
    chromium.click("th:nth-child(2) button")
    assert (chromium.evaluate(said), _shown(chromium)) == ("ascending", best)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board where one method has the highest values, and one concept alone."""
    path = tmp_path_factory.mktemp("uneven") / "index.html"
    three = [*(_row(m, c, 0, d, t) for m, d, t in (("a", 0.5, 0.6), ("b", 0.6, 0.5)) for c in ("cat", "cow", "dog"))]
    found = [*three, _row("easy", "cat", 0, 0.9, 0.9)]
    path.write_text(board_page.render(analyse(found), path.parent), encoding="utf-8")
    return path


def test_what_lacks_a_concept_is_marked_and_never_the_best(uneven: Path) -> None:
    lines = [r.partition("</tr>")[0] for r in uneven.read_text(encoding="utf-8").split('<tr data-method="')[1:]]
    rows_ = {line.partition('"')[0]: line for line in lines}
    assert "<small>1 of 3 concepts</small>" in rows_["easy"] and "not measured on every" not in rows_["easy"]
    assert [(m, "data-some" in r, r.count(" best")) for m, r in rows_.items()] == [
        ("b", False, 1), ("a", False, 1), ("easy", True, 0)
    ]  # fmt: skip


@needs_browser
def test_what_lacks_a_concept_stays_last_however_sorted(chromium: Browser, uneven: Path) -> None:
    chromium.open(uneven)
    assert _shown(chromium) == ["b", "a", "easy"]
    for column, orders in ((2, ("ab", "ba")), (3, ("ab", "ba"))):
        for order in orders:
            chromium.click(f"th:nth-child({column}) button")
            assert _shown(chromium) == [*order, "easy"]
    chromium.click("th:first-child button")  # by name is by name
    assert _shown(chromium) == ["a", "b", "easy"]


@needs_browser
def test_words_and_fronts_filter(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    chromium.click("#filter")
    chromium.type("BOLD lora")
    assert _shown(chromium) == ["bold", "dreambooth_lora"]
    assert chromium.evaluate("document.getElementById('count').textContent") == "2 of 4 methods"
    chromium.type("x")
    assert _shown(chromium) == ["bold"]
    chromium.evaluate("document.getElementById('filter').select()")
    chromium.type("nobody")
    assert _shown(chromium) == []
    assert chromium.evaluate("document.getElementById('none').checkVisibility()")
    chromium.open(page)
    chromium.click("#only-fronts")
    assert EVIL not in _shown(chromium)
    assert "bold" in _shown(chromium)


@needs_browser
def test_views_and_groups_change_the_cells(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    cell = "document.querySelector('[data-method=plain] td:nth-child({})').innerText"
    anchors = "document.querySelector('.anchors').checkVisibility()"
    assert chromium.evaluate(cell.format(2)).startswith("0.720")
    assert chromium.evaluate(anchors)
    chromium.click("[data-view=difference]")
    assert chromium.evaluate(cell.format(2)).split("\n")[0] == "+0.200"
    assert not chromium.evaluate(anchors)  # they have no difference and no rank
    chromium.click("[data-view=rank]")
    assert chromium.evaluate(cell.format(2)).split("\n")[0] == "2"
    assert not chromium.evaluate(anchors)
    chromium.click(".groups button:nth-of-type(2)")
    assert chromium.evaluate("document.querySelector('[data-method=plain] td:nth-child(3)').checkVisibility()") is False


@needs_browser
def test_what_does_not_fit_is_off_at_first(chromium: Browser, root: Path) -> None:
    """The parts of a score first, then the last groups; a click brings each back."""
    board = root / "leaderboards" / "stickers-sticker-unet-erase" / "index.html"
    hidden = "[...document.querySelectorAll('thead th')].filter(h => !h.checkVisibility()).length"
    beyond = "document.querySelector('.board').scrollWidth - document.querySelector('.board').clientWidth"
    for width in (1000, 1280, 1400):
        chromium.open(board, width=width)
        assert chromium.evaluate(beyond) <= 0, width
    assert chromium.evaluate("document.getElementById('parts').checked") is False
    assert chromium.evaluate(hidden) >= 5  # what each attack and channel brings back
    chromium.click("#parts")
    off = "document.querySelectorAll('.groups [aria-pressed=false]')"
    for group in chromium.evaluate(f"[...{off}].map(b => b.dataset.group)"):
        chromium.click(f".groups [data-group='{group}']")
    assert chromium.evaluate(hidden) == 0


@needs_browser
def test_a_method_is_marked_everywhere_and_its_picture_opens(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    marked = "[...document.querySelectorAll('.picked')].map(r => r.dataset.method)"
    chromium.click("[data-method=plain] .pick")
    assert chromium.evaluate(marked) == ["plain"]
    chromium.evaluate("document.querySelector('canvas').scrollIntoView({block: 'center'})")
    x, y = chromium.evaluate(
        "(() => { const chart = Chart.getChart(document.querySelector('canvas'));"
        " const i = chart.data.datasets[0].data.findIndex(p => p.method === 'bold');"
        " const p = chart.getDatasetMeta(0).data[i], r = chart.canvas.getBoundingClientRect();"
        " return [r.left + p.x, r.top + p.y]; })()"
    )
    chromium.press(x, y)
    assert chromium.becomes(marked, ["bold"])  # the chart answers with the next frame
    chromium.click("[data-method=bold] .thumb")
    assert chromium.evaluate("document.getElementById('pictures').open")
    assert chromium.evaluate("document.querySelector('dialog img').naturalWidth") == 192
    said = "document.getElementById('pictures').innerText"
    assert "bold on cat" in chromium.evaluate(said) and "four prompts that name the concept" in chromium.evaluate(said)
    below = "document.querySelector('dialog .untouched')"
    assert chromium.evaluate(f"{below}.checkVisibility() && {below}.querySelector('img').naturalWidth") == 128
    chromium.click("dialog form button")
    chromium.click("[data-method=plain] .thumb")  # of a concept the untouched model has no pictures of
    assert "plain on cow" in chromium.evaluate(said) and not chromium.evaluate(f"{below}.checkVisibility()")
    assert chromium.complaints == []
