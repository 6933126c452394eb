"""The page: complete, self-contained, escaped, the same bytes each time, and no wider than a phone."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.artifacts.report_sections import Picture, Section, Table, section_of_json
from stages.evaluation.charts import clock, nice_ticks, rank_bins, training_curve
from stages.evaluation.expected import Verdict
from stages.evaluation.own_set import measure
from stages.evaluation.records import EvaluationSet, Score
from stages.evaluation.report import FailureCount, Provenance, ReportContent, render_report
from stages.evaluation.results import metrics_document, rank_rows
from stages.evaluation.scoring import ProtocolSettings
from stages.training.history import History
from tests.evaluation_samples import make_set
from tests.small_run import SmallRun

SETTINGS = ProtocolSettings()


def page_of(evaluation: EvaluationSet, **more: object) -> str:
    content = ReportContent(
        subject=evaluation.subject,
        results=measure(evaluation, SETTINGS),
        settings=SETTINGS,
        failures=[FailureCount(artifact="manifest", cause="decode_error", count=3, example="<b>broken</b>.mp4")],
        provenance=[Provenance(name="embeddings", value="embeddings/91d2aa55ab33, embed version 1")],
    )
    return render_report(replace(content, **more))


class TagBalance(HTMLParser):
    """Fails on a tag that is closed by another."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_same_input_same_bytes_and_nothing_from_elsewhere() -> None:
    history = History(
        steps=np.arange(1, 500), losses=np.linspace(3, 1, 499), terms={"sequence_part": np.linspace(2, 0.5, 499)}
    )
    page = page_of(make_set(noise=0.5), history=history)
    assert page == page_of(make_set(noise=0.5), history=history)
    assert not re.findall(r"(?:src|href|url|@import|https?:)[=(:]", page)
    assert "<script" not in page
    assert "Training, 499 steps" in page
    assert re.search(r"<h3>sequence part</h3><p class=\"soft\">from 2.000 to 0.500</p>", page)
    parser = TagBalance()
    parser.feed(page)
    assert parser.open == []


def test_holds_scores_alignments_failures_and_provenance() -> None:
    page = page_of(make_set(noise=0.5))
    assert page.count('<polyline class="path"') == 3
    assert page.count('class="bar"') >= 4
    assert "3 × decode_error" in page
    assert "&lt;b&gt;broken&lt;/b&gt;.mp4" in page
    assert "embeddings/91d2aa55ab33" in page
    assert "now step" in page
    assert "Right one of a pair, DTW" in page
    assert "random weights" not in page


def test_warns_of_random_weights_and_of_videos_seen_in_training() -> None:
    page = page_of(make_set(random_weights=True, trained_on=("video000a",)))
    assert "This encoder has random weights" in page
    assert "trained on 1 of the measured videos" in page


def test_nothing_to_measure_is_a_page_that_says_so() -> None:
    empty = make_set(num_pairs=0, without_features=("gone",))
    page = page_of(empty, failures=())
    assert page.count("Not evaluated:") == 9
    assert "1 videos of the split without features: gone" in page
    assert "every input of what is named below was used" in page


def test_metrics_document_is_complete_json() -> None:
    evaluation = make_set(noise=0.5, without_features=("gone",))
    document = metrics_document(evaluation.subject, measure(evaluation, SETTINGS), SETTINGS)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["split"]["num_videos"] == 9
    assert document["split"]["missing"]["without_features"] == {"count": 1, "first": ["gone"]}
    assert list(document["protocols"]) == [
        "order_pairs.caption_average",
        "order_pairs.dtw",
        "order_pairs.otam",
        "paragraph_to_video.caption_average",
        "paragraph_to_video.dtw",
        "paragraph_to_video.otam",
        "paragraph_to_video.drop_dtw",
        "text_to_window",
        "window_to_text",
    ]
    found = document["protocols"]["paragraph_to_video.dtw"]
    assert {"num_queries", "gallery_size", "split", "encoder", "random_weights", "missing"} <= found.keys()
    assert found["trained_on_these_videos"] == "no"
    for score in found["scores"].values():
        assert score["low"] <= score["value"] <= score["high"]


def test_rank_rows_hold_every_query_once() -> None:
    results = measure(make_set(noise=0.5), SETTINGS)
    columns = rank_rows(results)
    assert {len(column) for column in columns.values()} == {3 * 8 + 4 * 8 + 40 + 120}
    keys = list(zip(columns["protocol"], columns["query_id"], strict=True))
    assert len(set(keys)) == len(keys)


def test_training_note() -> None:
    subject = make_set().subject
    assert subject.training_note == "no"
    assert replace(subject, trained_on=("video000a",)).training_note == "yes, on 1 of 8 videos"
    assert replace(subject, training_known=False).training_note == "unknown"
    some = replace(subject, training_known=False, trained_on=("video000a",))
    assert some.training_note == "yes, on at least 1 of 8 videos"


def test_examples_leave_out_what_is_too_large_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.evaluation.alignments._MAX_CELLS", 10)
    assert "<h2>Alignments</h2>" not in page_of(make_set())


def test_axes() -> None:
    assert nice_ticks(0.0, 3.592) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert nice_ticks(0.0, 1.0) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert nice_ticks(2.0, 2.0)[0] <= 2.0 <= nice_ticks(2.0, 2.0)[-1]
    assert rank_bins(40) == [1, 2, 5, 10, 20, 40]
    assert rank_bins(1) == [1]
    assert [clock(seconds) for seconds in (0, 61.9, 3725)] == ["0:00", "1:01", "1:02:05"]
    assert training_curve("loss", np.array([1]), np.array([0.5])).startswith("<svg")


def everything(score: Score) -> Score:
    """A score with all that can stand beside it."""
    return replace(score, legacy=1.0, baselines={"index, 16 of 1024 lists": 0.5, "always background": 0.1})


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_fits_the_screen(tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    # A script of the test's own, in an outer page, since a headless window cannot be made as narrow as a phone.
    evaluation = make_set(noise=0.5, num_scenes=12)
    full = [replace(result, scores=tuple(map(everything, result.scores))) for result in measure(evaluation, SETTINGS)]
    verdict = Verdict(
        protocol="paragraph_to_video.caption_average", metric="median_rank", method="VideoCLIP, third-party run",
        ours=100.0, theirs=22.37, tolerance=0.5, source="Xu et al., VideoCLIP, EMNLP 2021",
    )  # fmt: skip
    page.write_text(page_of(evaluation, results=full, verdicts=[verdict]))
    probe = tmp_path / "probe.html"
    probe.write_text(
        f'<iframe id="f" src="report.html" style="width:{width}px;height:900px;border:0"></iframe><p id="out">?</p>'
        "<script>f.onload = () => { let page = f.contentDocument.documentElement;"
        'out.textContent = "overflow=" + (page.scrollWidth - page.clientWidth) }</script>'
    )
    chromium = os.environ.get("FABULA_CHROMIUM") or shutil.which("chromium")
    assert chromium is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    flags += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    dom = subprocess.run([chromium, *flags, probe.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"overflow=(-?\d+)", dom.stdout)
    assert found is not None, dom.stdout
    assert int(found[1]) == 0


def test_a_stage_and_a_protocol_add_sections() -> None:
    table = Table(columns=("lists", "recall <10>"), rows=(("8", "99.0 %"),))
    ours = Section(title="From a stage", note="as its record says", tables=(table,))
    carried = section_of_json(json.loads(json.dumps(ours.to_json())))
    assert carried == ours
    drawn = Section(title="From a protocol", pictures=(Picture(svg="<svg></svg>", caption="a curve"),))
    evaluation = make_set(noise=0.5)
    first, *others = measure(evaluation, SETTINGS)
    page = page_of(evaluation, results=[replace(first, sections=(drawn,)), *others], sections=[carried])
    assert page.index("From a protocol") < page.index("From a stage")
    assert "<th>recall &lt;10&gt;</th>" in page
    assert "<td>99.0 %</td>" in page
    assert "<svg></svg>" in page


def test_warnings_baselines_and_published_columns_are_shown() -> None:
    evaluation = make_set(noise=0.5)
    first, *others = measure(evaluation, SETTINGS)
    score = replace(first.scores[0], legacy=0.123, baselines={"always background": 0.456})
    changed = replace(first, scores=(score, *first.scores[1:]), warnings=("all is one class",))
    page = page_of(evaluation, results=[changed, *others])
    assert "<th>as published</th>" in page
    assert "12.3 %" in page
    assert "always background 45.6 %" in page
    assert "all is one class." in page


def test_best_and_worst_queries_say_what_was_asked() -> None:
    page = page_of(make_set(noise=4.0, num_pairs=10))
    assert "Best and worst queries" in page
    assert "came first instead" in page
    assert "now step" in page
    assert "What came first instead." in page  # the alignment of the worst query


def test_thumbnails_lie_in_the_page(small_run: SmallRun) -> None:
    """A real run: pictures of the videos beside the sentences and below the alignment maps, as data."""
    (path,) = small_run.store.glob("evaluation/*/report-set-*.html")
    page = path.read_text()
    pictures = re.findall(r'(?:src|href)="(data:image/jpeg;base64,[^"]+)"', page)
    assert len(pictures) >= 6
    jpeg = base64.b64decode(pictures[0].partition(",")[2])
    assert Image.open(io.BytesIO(jpeg)).size[0] <= 160
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert len(page) < 2_000_000
