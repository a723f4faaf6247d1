import dataclasses
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from bench import show
from bench.concept import Concept, Reference
from bench.grid import grid
from bench.headline import number, verdict
from bench.metric import load_metrics
from bench.page.curves import POINTS, read_curves
from bench.page.grids import SEEDS
from bench.page.picture import picture
from bench.page.report import write_report
from bench.page.scores import Scores
from bench.plan import Plan, Training
from bench.row import Row, Value
from bench.rows.place import settings
from bench.store import Store
from bench.words import counted
from metrics.detection import recognized
from metrics.preservation import distance

EVIL = "<script>alert(1)</script>"
KEYS = {"train": "t" * 16, "base": "b" * 16, "generate": "g" * 16, "score": "s" * 16}
TEMPLATES = {
    "concept": ["a {noun} in the snow"],
    "unrelated": ["a {noun} at night"],
    "empty": [""],
    "unrelated_nouns": ["pizza"],
}


def value(v, low, high, better, checkpoint="clip-judge", title="", group="other"):
    return Value(
        value=v, low=low, high=high, n=2, better=better, checkpoint=checkpoint, version=1, title=title, group=group
    )


def measured(dino=0.7234):
    return {
        "clip_t": value(0.3012, 0.2911, 0.3113, "higher", title="CLIP-T", group="prompt following"),
        "dino": value(dino, dino - 0.02, dino + 0.02, "higher", "dino-judge", "DINO", "fidelity"),
        "drift/unrelated": value(0.0321, 0.0222, 0.0423, "lower", "dino-judge", "drift", "preservation"),
        "delta_clip_t/concept": value(-0.0121, -0.0242, -0.0011, "zero", group="preservation"),
        "novel": value(5.0, 4.0, 6.0, "higher", "elsewhere"),
    }


def anchors():
    zero = value(0.0, 0.0, 0.0, "zero")
    none = {"dino": value(0.4141, 0.4, 0.43, "higher"), "clip_t": value(0.3133, 0.3, 0.32, "higher")}
    return {
        "none": none | {"drift/unrelated": zero, "delta_clip_t/concept": zero},
        "references": {"dino": value(0.9521, 0.94, 0.96, "higher")},
    }


def make_row(**fields):
    given = {
        "status": "ok", "method": "purecc", "model": "tiny", "dataset": "stickers", "concept": "poodle",
        "kind": "subject", "protocol": "quick", "seed": 3, "hyperparameters": {"rank": 7}, "tuned": True,
        "measured": measured(), "anchors": anchors(), "fingerprints": KEYS, "cost": {"seconds": 12.5, "steps": 800},
        "provenance": {"git": "abc", "packages": {"torch": "2.6"}, "command": "python -m bench -m seed=0,1"},
    }  # fmt: skip
    return Row(**(given | fields))


def make_plan(tmp_path, name="poodle", caption="a <new1> dog", given=("+method=purecc", "seed=3")):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "0.png")
    reference = Reference(image="0.png", complete=caption, base="a dog")
    concept = Concept(
        name=name, kind="subject", class_phrase="dog", references=[reference], licence="MIT", folder=tmp_path,
        attribution="http://example.org/art",
    )  # fmt: skip
    cells = grid(concept, TEMPLATES, {"concept": 2, "unrelated": 1, "empty": 1})
    config = {"root": str(tmp_path / "runs"), "model": {"name": "tiny"}, "seed": 3, "_given": list(given),
              "protocol": {"metrics": ["metrics.detection.recognized", "metrics.preservation.distance"]}}  # fmt: skip
    fields = {"rank": 7}
    training = Training(concept, "purecc", "methods.purecc.PureCC", fields, KEYS["train"])
    of = ("purecc", "methods.purecc.PureCC", fields, True, concept, cells, tmp_path, None)
    return Plan(config, *of, (training,), KEYS)


def fill_store(plan, store):
    for stage, colour in (("base", "blue"), ("generate", "green")):

        def draw(folder, colour=colour):
            for cell in plan.grid.cells:
                Image.new("RGB", (64, 64), colour).save(folder / f"{cell.key}.png")

        store.once(stage, KEYS[stage], {}, draw)
    curves = {"student/loss": [1 / (i + 1) for i in range(1000)], "student/lambda": [0.5, float("nan"), 0.25]}
    store.once("train", KEYS["train"], {}, lambda folder: (folder / "log.json").write_text(json.dumps(curves)))
    lines = [
        ("model", "dino", "concept", 0, 0, 0.61),
        ("model", "dino", "concept", 0, 1, 0.83),
        ("none", "dino", "concept", 0, 0, 0.401),
        ("references", "dino", "concept", 0, 0, 0.9521),
        ("model", "drift", "unrelated", 0, 0, 0.0554),
        ("model", "recognized", "concept", 0, 0, 0.25),
        ("none", "recognized", "concept", 0, 0, 1.0),
        ("model", "distance", "concept", 0, 0, 0.4),
    ]
    table = pd.DataFrame(lines, columns=["source", "metric", "channel", "prompt", "seed", "value"])
    store.once("score", KEYS["score"], {}, lambda folder: table.to_parquet(folder / "scores.parquet", index=False))


class Page(HTMLParser):
    """What a browser would see: tags, texts, and everything it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.images, self.texts = [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [dict(attrs)] if tag == "img" else []
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "xlink:href", "action")]
        self.loads += [v for k, v in attrs if k == "style" and "url" in v]

    def handle_data(self, data):
        self.texts.append(data)


def report(tmp_path, row=None, plan=None, fill=True):
    plan, store = plan or make_plan(tmp_path), Store(tmp_path / "runs")
    if fill:
        fill_store(plan, store)
    write_report(plan, row or make_row(), store)
    text = (plan.folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_what_is_given_is_escaped(tmp_path):
    plan = make_plan(tmp_path, name="poodle", caption=f"a {EVIL} dog", given=[f"method.x={EVIL}"])
    row = make_row(concept=EVIL, hyperparameters={EVIL: EVIL}, provenance={"git": EVIL})
    text, page = report(tmp_path, row, plan)
    assert "<script" not in text and "script" not in page.tags
    assert f"a {EVIL} dog" in page.text  # shown, as text
    assert page.text.count(EVIL) >= 6


def test_what_is_lost_is_drawn_over_how_near_it_is(tmp_path):
    text, page = report(tmp_path)
    assert "Near and far" in page.text
    assert "1.000 before, 0.250 after" in page.text
    assert f'cy="{190 - 170 * 0.25}"' in text


def test_the_concepts_own_class_stands_beside_what_is_near_to_it():
    values = {("model", "distance", "neighbour", 0, 0): 0.4, ("model", "recognized", "other", 0, 0): 1.0}
    for channel, after in (("class", 0.0), ("neighbour", 1.0)):
        values |= {("model", "recognized", channel, 0, 0): after, ("none", "recognized", channel, 0, 0): 1.0}
    (drawn,) = Scores(values).drawn_over([recognized, distance], {("class", 0): "a cat"})
    assert drawn.near == [(0.0, 0.0, 1.0, "a cat")] and drawn.points == [(0.4, 1.0, 1.0, "")]


def test_page_loads_nothing(tmp_path):
    text, page = report(tmp_path)
    assert page.images and all(i["src"].startswith("data:image/") for i in page.images)
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    assert "http://example.org/art" in page.text  # an address may stand there as text
    assert "default-src 'none'" in text


def test_pictures_pair_base_and_customized(tmp_path):
    _, page = report(tmp_path)
    assert len(page.images) == 1 + 2 * 4
    assert all(i["width"] == "128" and i["loading"] == "lazy" for i in page.images)
    base, customized = (next(i for i in page.images if i["alt"] == alt) for alt in (
        "base model, seed 1: a dog in the snow", "customized, seed 1: a <new1> dog in the snow"))  # fmt: skip
    assert base["src"] != customized["src"]
    assert base["src"] == picture(tmp_path / "runs/store/base" / KEYS["base"] / "concept-00-1.png").src
    assert "(the empty prompt)" in page.text


def test_page_has_the_numbers(tmp_path):
    _, page = report(tmp_path)
    for said in ("0.723", "0.703 to 0.743", "0.414", "0.952", "−0.012", "−0.024 to −0.001"):
        assert said in page.text
    assert "dino 0.720 (base 0.401)" in page.text  # the mean over seeds of one prompt
    assert "drift 0.055" in page.text
    assert "dino to the others 0.952" in page.text
    assert "DINO rose from 0.414 to 0.723, toward the references' 0.952" in page.text
    assert "python -m bench +method=purecc seed=3" in page.text and "-m seed=0,1" not in page.text
    assert "rank 7" in page.text and "torch 2.6" in page.text and "elsewhere, 2 pictures" in page.text


def test_missing_picture_is_said(tmp_path):
    plan, store = make_plan(tmp_path), Store(tmp_path / "runs")
    fill_store(plan, store)
    (store.path("base", KEYS["base"]) / "empty-00-0.png").unlink()
    write_report(plan, make_row(), store)
    page = Page((plan.folder / "report.html").read_text(encoding="utf-8"))
    assert len(page.images) == 8 and page.texts.count("missing") == 1


def test_only_the_first_seeds_are_shown_and_it_is_said(tmp_path):
    plan = make_plan(tmp_path)
    many = replace(plan, grid=grid(plan.concept, TEMPLATES, {"empty": SEEDS + 1}))
    _, page = report(tmp_path, plan=many)
    assert len(page.images) == 1 + 2 * SEEDS
    assert f"the first {SEEDS} seeds" in page.text
    assert "the first" not in report(tmp_path, fill=False)[1].text


@pytest.mark.parametrize("status", ["diverged", "failed", "unmeasurable"])
def test_row_without_result(tmp_path, status):
    row = make_row(status=status, reason=f"student: the loss of step 3 is nan {EVIL}", measured={}, anchors={}, cost={})
    text, page = report(tmp_path, row, fill=False)
    assert f"the loss of step 3 is nan {EVIL}." in page.text and "<script" not in text
    for heading in ("The row", "The pictures", "The training"):
        assert heading not in page.text
    assert len(page.images) == 1 and "How it was made" in page.text


def test_curves_are_thinned_and_finite(tmp_path):
    log = {"a/loss": [float(i % 7) for i in range(1999)], "a/gone": [float("nan")], "loss": [2.0]}
    (tmp_path / "log.json").write_text(json.dumps(log))
    loss, plain = read_curves(tmp_path / "log.json")
    assert (loss.stage, loss.name, loss.steps) == ("a", "loss", 1999)
    assert len(loss.rough) == len(loss.smooth) == POINTS
    assert max(loss.smooth) - min(loss.smooth) < max(loss.rough) - min(loss.rough)
    assert (plain.stage, plain.name, plain.smooth) == ("", "loss", [2.0])


def test_one_point_or_a_flat_curve_is_drawn(tmp_path):
    plan, store = make_plan(tmp_path), Store(tmp_path / "runs")
    curves = '{"a/loss": [2.0], "a/next": [1.0, 1.0]}'
    store.once("train", KEYS["train"], {}, lambda folder: (folder / "log.json").write_text(curves))
    write_report(plan, make_row(), store)
    text = (plan.folder / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'points="([^"]*)"', text)
    assert drawn == ["0.0,50 ", "0.0,50 ", "0.0,50 300.0,50 ", "0.0,50 300.0,50 "]


def test_large_picture_is_reduced(tmp_path):
    Image.effect_noise((1024, 512), 80).save(tmp_path / "large.png")
    large = picture(tmp_path / "large.png")
    assert large.src.startswith("data:image/webp;base64,") and large.width == 160
    assert len(large.src) < (tmp_path / "large.png").stat().st_size / 4


def test_show_prints_the_numbers(tmp_path, capsys):
    plan = make_plan(tmp_path, given=["+method=purecc", "method.rank=7"])
    row = make_row()
    show.show(row, plan, there=False)
    out = capsys.readouterr().out
    lines = {line.split()[1]: line for line in out.splitlines() if line and line[0] in "↑↓→"}
    assert lines["dino"].split() == ["↑", "dino", "0.723", "[0.703,", "0.743]", "0.414", "0.952", "dino-judge"]
    assert "DINO rose from 0.414 to 0.723" in " ".join(out[: out.index("metric")].split())  # first the one sentence
    assert lines["drift/unrelated"].split() == [
        "↓",
        "drift/unrelated",
        "0.032",
        "[0.022,",
        "0.042]",
        "0.000",
        "—",
        "dino-judge",
    ]
    assert lines["delta_clip_t/concept"].split()[:3] == ["→0", "delta_clip_t/concept", "-0.012"]
    order = [
        out.index(w)
        for w in ("fidelity", "dino ", "prompt following", "clip_t ", "preservation", "drift/", "other", "novel")
    ]
    assert order == sorted(order)
    assert "purecc on poodle · tiny · seed 3 · values set for tiny, method.rank=7 by hand · ok" in out
    assert "12.5 s, 800 steps" in out and row.digest() in out and f"{plan.folder} (row.json" in out
    assert "there already" not in out
    show.show(row, plan, there=True)
    assert "there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cost", "made", "said"),
    [
        ({"seconds": 0.0, "steps": 0.0, "adapter_bytes": 9.0}, {}, "in closed form"),
        ({"adapter_bytes": 9.0}, {"_made": {"command": "score"}}, "elsewhere"),  # a LoRA that somebody else trained
        ({"adapter_bytes": 0.0}, {}, "none"),
    ],
)
def test_show_says_what_was_trained_without_a_step(tmp_path, capsys, cost, made, said):
    plan = make_plan(tmp_path)
    show.show(make_row(cost=cost), dataclasses.replace(plan, config=plan.config | made), there=False)
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("training")]
    assert line.removeprefix("training").strip() == said
    assert ("values set for" in out) == (not made)


def test_show_fits_80_columns(tmp_path, capsys):
    names = ("concept", "class", "neighbour", "unrelated")
    delta = {f"delta_clip_t/{n}": value(-0.0121, -0.0242, -0.0011, "zero", "sticker-clip-judge") for n in names}
    anchor = {n: value(0.0, 0.0, 0.0, "zero") for n in delta}
    show.show(make_row(measured=delta, anchors={"none": anchor}), make_plan(tmp_path), there=True)
    table = [line for line in capsys.readouterr().out.splitlines() if "runs" not in line]
    assert max(map(len, table)) <= 80
    assert sum(line.endswith("sticker-clip-judge") for line in table) == 4


def test_show_says_why_it_diverged_and_keeps_brackets(tmp_path, capsys):
    row = make_row(
        status="diverged", reason="student [bold]: the loss of step 3 is nan", measured={}, anchors={}, cost={}
    )
    show.show(row, make_plan(tmp_path), there=False)
    out = capsys.readouterr().out
    assert "Training diverged: student [bold]: the loss of step 3 is nan." in out
    assert "metric" not in out


GONE = [
    (0.9, "rose from 0.414 to 0.900, toward the references' 0.952"),
    (0.99, "rose from 0.414 to 0.990, past the references' 0.952"),
    (0.2, "fell from 0.414 to 0.200, away from the references' 0.952"),
    (0.42, "did not move clearly (0.414 before, 0.420 after)"),
]


@pytest.mark.parametrize(("dino", "words"), GONE)
def test_verdict_says_where_it_went(dino, words):
    assert f"DINO {words}" in verdict(make_row(measured=measured(dino)))


def test_verdict_asks_the_paired_difference():
    assert "CLIP-T fell from 0.313 to 0.301" in verdict(make_row())
    unsure = measured() | {"delta_clip_t/concept": value(-0.012, -0.03, 0.01, "zero")}
    assert "CLIP-T did not move clearly" in verdict(make_row(measured=unsure))


def shares(**rates):
    return {n.replace("__", "/"): value(v, v, v, "higher", title=n, group="preservation") for n, v in rates.items()}


def test_the_headline_says_what_a_learner_broke_and_no_ratio():
    broke = shares(recognized__class=0.17, recognized__neighbour=0.9, recognized__unrelated=0.8)
    broke |= {"alteration/class": value(24.15, 0.5, 110.0, "lower", title="alteration", group="preservation")}
    had = shares(recognized__class=1.0, recognized__neighbour=1.0, recognized__unrelated=0.8)
    row = make_row(measured=measured() | broke, anchors={"none": anchors()["none"] | had})
    said = verdict(row, "cat")
    assert "of plain “cat” pictures 17 % are still recognized (100 % before)" in said
    assert "of neighbour pictures 90 % are still recognized (100 % before)" in said  # they lost, the unrelated did not
    assert "alteration" not in said and "drift" not in said
    assert "drift is largest on unrelated prompts, 0.032" in verdict(make_row())  # where nothing reads the pictures


@pytest.mark.parametrize(("rate", "words"), [(1.0, "100 %"), (0.5, "50 %"), (0.49, "")])
def test_the_headline_of_copied_references_says_so(rate, words):
    copies = {"copy_rate": value(rate, rate, rate, "lower", group="fidelity")}
    said = verdict(make_row(measured=measured(0.99) | copies))
    but = f", but {words} of its pictures are near copies of a reference" if words else ""
    assert f"past the references' 0.952{but}; CLIP-T" in said


def test_the_headline_of_an_eraser_is_its_score_the_worst_words_and_the_attacks():
    leaks = {"leakage": 0.0, "leakage/alias": 0.833, "leakage/compose": 0.1}
    row = make_row(kind="erase", anchors={}, measured={
        "diversity": value(0.076, 0.0, 0.1, "higher", group="prompt following"), "detected": value(0, 0, 0, "lower"),
        **{n: value(v, v, v, "lower", group="erasure") for n, v in leaks.items()},
        "erasure_score": value(0.462, 0.4, 0.5, "higher", group="erasure"),
    })  # fmt: skip
    said = verdict(row)
    assert said == (
        "Erasure score 0.462, of 1; worst leakage without the weights 0.833, asked for by its other names; "
        "under no attack with the weights was leakage measured"
    )
    row.measured["leakage/prefix"] = value(1, 1, 1, "lower", group="erasure")
    assert verdict(row).endswith("attacked with the weights, leakage 1.000, by a prefix found by gradient")
    row.measured["clip_t_instead"] = value(-0.13, -0.2, 0, "higher", group="prompt following")  # noise leaks nothing
    row.anchors["surrogate"] = {"clip_t_instead": value(0.7, 0.6, 0.8, "higher", group="prompt following")}
    instead = "asked for by its name, what comes fits the surrogate's prompt by -0.130 (asked for the surrogate: 0.700)"
    assert instead in verdict(row)


def test_what_has_no_words_of_its_own_is_told_by_its_groups():
    elsewhere = {"fid": value(12.0, 11.0, 13.0, "lower", title="FID", group="outside")}
    assert verdict(make_row(kind="new", measured=measured() | elsewhere)).endswith("FID is 12.000")
    assert verdict(make_row(measured={})) == "Nothing was measured"


def test_the_words_of_every_task_are_of_values_that_are_measured(root):
    quick = yaml.safe_load((root / "conf" / "protocol" / "quick.yaml").read_text(encoding="utf-8"))
    known = {m.value_name(c) for m in load_metrics(quick["metrics"]) for c in m.channels}
    said = yaml.safe_load((root / "conf" / "headline.yaml").read_text(encoding="utf-8"))
    assert set(settings()["columns"]) == set(said["clauses"])
    clauses = [c for task in said["clauses"].values() for c in task]
    assert {n for c in clauses for n in (*c["of"], c.get("but", {}).get("of", "dino"))} <= known


def test_one_is_no_plural(tmp_path):
    said = [counted(n, "stage") for n in (0, 1, 2, 1200)]
    assert said == ["0 stages", "1 stage", "2 stages", "1,200 stages"]
    _, page = report(tmp_path, make_row(measured={"dino": measured()["dino"].model_copy(update={"n": 1})}))
    assert "from 1 reference picture " in page.text
    assert "dino-judge, 1 picture " in page.text and "1 prompt." in page.text


def test_no_negative_zero():
    assert number(-0.0001) == "0.000" and number(-0.0006) == "-0.001"


def test_neither_imports_torch():
    code = "import sys, bench.show, bench.page.report; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, timeout=60).returncode == 0
