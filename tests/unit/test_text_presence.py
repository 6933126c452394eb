"""Whether a corpus is narrated at all."""

from pathlib import Path

import pytest

from stages.text.presence import holds_narration


@pytest.mark.parametrize(("row", "expected"), [("a,0,2,stir it", True), ("a,,,stir it", True), ("a,5,2,x", False)])
def test_a_table_counts_if_a_row_of_it_can_be_used(tmp_path: Path, row: str, expected: bool) -> None:
    (tmp_path / "captions.csv").write_text(f"video,start_s,end_s,text\n{row}\n")
    assert holds_narration(media_dir=tmp_path, captions=tmp_path / "captions.csv") is expected


def test_transcripts_beside_videos_and_in_a_second_folder(tmp_path: Path) -> None:
    media, captions = tmp_path / "media", tmp_path / "captions"
    for folder in (media / "deep", captions):
        folder.mkdir(parents=True)
    (media / "deep" / "a.vtt").write_text("no transcript")
    assert not holds_narration(media_dir=media, captions=None)
    (captions / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nstir it\n")
    assert holds_narration(media_dir=media, captions=captions)
