import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stages.corpus.captions import narrate as speak
from stages.corpus.captions import write_vtt
from stages.corpus.compose import compose
from stages.corpus.settings import CorpusSettings
from stages.errors import BadTranscript
from stages.text.dedup import drop_rolling_repeats
from stages.text.readers import load_transcript, parse_transcript, read_transcript
from stages.text.records import Narration
from stages.text.sentences import SentenceSettings, narrate

SRT = b"1\n00:00:01,000 --> 00:00:02,000\nHello.\n"
VTT = b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n"
HELLO = [Narration(start_s=1.0, end_s=2.0, text="Hello.")]

REAL = [
    # file, cues, narrations, words (counted from the file by eye or by the independent counts below)
    ("mdn/friday.vtt", 5, 4, 27),
    ("mdn/stream-of-water.vtt", 4, 4, 13),
    ("mdn/sintel-en.vtt", 14, 15, 72),
    ("mdn/sintel-de.vtt", 14, 15, 77),
    ("mdn/sintel-es.vtt", 14, 15, 71),
    ("subsai/test1.srt", 3, 3, 30),
    ("elephantsdream/captions.en.vtt", 78, None, None),
    ("elephantsdream/chapters.en.vtt", 9, 9, None),
    ("elephantsdream/descriptions.en.vtt", 63, None, None),
    ("ableplayer/blocks4all_captions_en.vtt", 44, None, None),
    ("ableplayer/itaccess_captions_en.vtt", 94, None, None),
    ("ableplayer/itaccess_subtitles_es.vtt", 94, None, None),
    ("ableplayer/wwa_captions_en.vtt", 15, None, None),
    ("whisper_timestamped/smartphone.mp3_20.srt", 203, None, None),
    ("whisper_timestamped/smartphone.mp3_20.vtt", 203, None, None),
    ("3b1b/2020_ldm-quadratic/captions.srt", 869, None, None),
    ("pycaption/example.srt", 1847, None, None),
    ("ttml/subaligner_test.srt", 17, None, None),
    ("youtube_auto/8n_tpLn6Xbo.en.vtt", 567, None, None),
    ("youtube_auto/simonw_demo.vtt", 4, 1, 14),
    ("youtube_auto/webvtt-py_youtube_dl.vtt", 4, 2, 8),
]


@pytest.mark.parametrize(
    ("name", "content"), [("a.vtt", VTT), ("a.srt", SRT), ("a.VTT", VTT), ("a.vtt", SRT), ("a.srt", VTT)]
)
def test_the_content_decides(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_transcript(tmp_path / name) == HELLO


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vtt", b"hello\n", r"a\.vtt:1: got 'hello', expected 'WEBVTT'"),
        ("a.srt", b"hello\n", r"a\.srt:1: got 'hello' and no line with '-->'"),
        ("a.vtt", b"", r"a\.vtt: got an empty file"),
        ("a.srt", b"\x00\x00\x00\x18ftypmp42", r"a\.srt:1: got a NUL"),
        ("a.txt", VTT, r"a\.txt: got a file with the suffix '\.txt', expected one of \.vtt, \.srt"),
    ],
)
def test_what_is_no_transcript(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadTranscript, match=message):
        read_transcript(tmp_path / name)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadTranscript, match=r"none\.vtt: cannot be read"):
        read_transcript(tmp_path / "none.vtt")
    (tmp_path / "folder.vtt").mkdir()
    with pytest.raises(BadTranscript, match=r"folder\.vtt: cannot be read"):
        read_transcript(tmp_path / "folder.vtt")


def test_what_is_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.text.readers.MAX_BYTES", 1 << 20)
    (tmp_path / "a.vtt").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(BadTranscript, match="more than 1 MiB"):
        load_transcript(tmp_path / "a.vtt", "a.vtt")


@pytest.mark.shared
def test_every_real_file_is_listed(shared_dir: Path) -> None:
    folder = shared_dir / "data/captions"
    found = {str(path.relative_to(folder)) for suffix in ("vtt", "srt") for path in folder.rglob(f"*.{suffix}")}
    assert found == {name for name, *_ in REAL}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "num_cues", "num_narrations", "num_words"), REAL)
def test_real_files(
    shared_dir: Path, name: str, num_cues: int, num_narrations: int | None, num_words: int | None
) -> None:
    path = shared_dir / "data/captions" / name
    transcript = parse_transcript(load_transcript(path, path.name), path.name)
    assert (len(transcript.cues), transcript.problems) == (num_cues, ())
    found = narrate(transcript.cues, SentenceSettings())
    assert num_narrations in (None, len(found.narrations))
    assert num_words in (None, found.num_words)
    assert sum(len(narration.text.split()) for narration in found.narrations) == found.num_words
    assert not any("<" in narration.text or "-->" in narration.text for narration in found.narrations)
    assert all(0 <= narration.start_s < narration.end_s for narration in found.narrations)
    assert all(before.start_s <= after.start_s for before, after in pairwise(found.narrations))
    longest_s = max(cue.end_s for cue in transcript.cues)
    assert all(n.end_s <= max(longest_s, n.start_s + 0.11) for n in found.narrations)  # at least 0.1 s each


def _new_words(path: Path) -> list[str]:
    """An independent reading of YouTube's layout: of each block, the lowest line that holds text is new if it has
    inline times, or if it is not a copy of what was shown last.
    """
    words: list[str] = []
    shown = ""
    for block in path.read_text(encoding="utf-8").split("\n\n")[1:]:
        lines = [line for line in block.split("\n") if "-->" not in line and line.strip()]
        if not lines:
            continue
        text = re.sub(r"<[^>]*>", "", lines[-1]).strip()
        if re.search(r"<\d\d:", lines[-1]) or text != shown:
            words += text.split()
        shown = text
    return words


@pytest.mark.shared
@pytest.mark.parametrize("name", ["8n_tpLn6Xbo.en.vtt", "simonw_demo.vtt"])
def test_youtube_words_are_exactly_the_new_ones(shared_dir: Path, name: str) -> None:
    path = shared_dir / "data/captions/youtube_auto" / name
    said = [word for narration in read_transcript(path) for word in narration.text.split()]
    assert said == _new_words(path)


@pytest.mark.shared
def test_youtube_word_times_are_the_file_s_own(shared_dir: Path) -> None:
    path = shared_dir / "data/captions/youtube_auto/8n_tpLn6Xbo.en.vtt"
    (run,) = drop_rolling_repeats(parse_transcript(path.read_bytes(), path.name).cues)
    inline = [
        round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)
        for hours, minutes, seconds in re.findall(r"<(\d\d):(\d\d):([\d.]+)>", path.read_text(encoding="utf-8"))
    ]
    starts = [round(word.start_s, 3) for word in run.words]
    assert starts == sorted(starts)
    assert set(inline) <= set(starts)
    assert sum(word.stamped for word in run.words) > 0.99 * len(run.words)


@pytest.mark.shared
def test_no_line_of_a_youtube_file_survives_twice(shared_dir: Path) -> None:
    path = shared_dir / "data/captions/youtube_auto/8n_tpLn6Xbo.en.vtt"
    text = " ".join(narration.text for narration in read_transcript(path))
    for block in path.read_text(encoding="utf-8").split("\n\n")[1:]:
        for line in block.split("\n")[1:]:
            words = re.sub(r"<[^>]*>", "", line).strip()
            if len(words.split()) >= 4:
                assert text.count(words) == 1, words


@pytest.mark.shared
def test_human_transcripts_lose_no_word(shared_dir: Path) -> None:
    for name in ("mdn/sintel-en.vtt", "pycaption/example.srt", "whisper_timestamped/smartphone.mp3_20.srt"):
        path = shared_dir / "data/captions" / name
        found = narrate(parse_transcript(path.read_bytes(), path.name).cues, SentenceSettings())
        assert found.num_repeats == 0, name


@pytest.mark.shared
def test_sentences_of_a_lecture_match_its_published_timings(shared_dir: Path) -> None:
    """3b1b publishes the sentences that these captions were cut from."""
    folder = shared_dir / "data/captions/3b1b/2020_ldm-quadratic"
    published = {text.strip(): start for text, start, _ in json.loads((folder / "sentence_timings.json").read_text())}
    ours = {n.text: n.start_s for n in read_transcript(folder / "captions.srt", SentenceSettings(max_words=100))}
    both = published.keys() & ours.keys()
    assert len(both) >= 0.8 * len(published)
    assert sum(abs(published[text] - ours[text]) <= 0.5 for text in both) >= 0.95 * len(both)


def test_the_demo_corpus_is_read_word_for_word(tmp_path: Path) -> None:
    settings = CorpusSettings(num_train=12, num_train_pairs=0, num_val=0, num_test=0, num_pairs=0)
    num_true = num_exact = 0
    for plan in compose(settings):
        spoken = speak(plan, settings, np.random.default_rng(plan.position))
        (tmp_path / "x.vtt").write_text(write_vtt(spoken))
        found = read_transcript(tmp_path / "x.vtt")
        assert [word for n in found for word in n.text.split()] == [word.text for s in spoken for word in s]
        true = {" ".join(word.text for word in sentence): sentence[0].start_ms / 1000 for sentence in spoken}
        num_true += len(spoken)
        num_exact += sum(n.text in true and n.start_s == pytest.approx(true[n.text]) for n in found)
    assert num_exact >= 0.8 * num_true  # fillers may follow a sentence without a pause
