from pathlib import Path

import pytest

from stages.errors import BadTranscript, ConfigError
from stages.text.records import Narration
from stages.text.table import read_table


def write(folder: Path, text: str) -> Path:
    path = folder / "captions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_times_and_the_whole_video(tmp_path: Path) -> None:
    table = write(tmp_path, 'video,start_s,end_s,text\na/x.mp4,1,2.5,"Cut, then\nstir."\n\ny,,,Bears play.\n')
    first, second = read_table(table)
    assert (first.video, first.narration(9)) == ("a/x.mp4", Narration(start_s=1.0, end_s=2.5, text="Cut, then stir."))
    assert (second.video, second.narration(9)) == ("y", Narration(start_s=0.0, end_s=9.0, text="Bears play."))


def test_columns_in_any_order_and_more_of_them(tmp_path: Path) -> None:
    (row,) = read_table(write(tmp_path, "\ufefftext,note,video,end_s,start_s\nhello,n,x,2,1\n"))
    assert (row.video, row.start_s, row.end_s, row.text) == ("x", 1.0, 2.0, "hello")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,one,2,a", r"captions\.csv:2: column start_s: got 'one', expected seconds"),
        ("x,-1,2,a", r"captions\.csv:2: column start_s: got '-1'"),
        ("x,1,nan,a", r"captions\.csv:2: column end_s: got 'nan'"),
        ("x,1,inf,a", r"captions\.csv:2: column end_s: got 'inf'"),
        ("x,1,,a", r"captions\.csv:2: column end_s: got '', expected both times"),
        ("x,,1,a", r"captions\.csv:2: column start_s: got '', expected both times"),
        ("x,2,1,a", r"captions\.csv:2: column end_s: got '1', expected more than start_s, which is 2"),
        ("x,1,2,", r"captions\.csv:2: column text: got '', expected a sentence"),
        ("x,1,2,cut, then stir", r"captions\.csv:2: got 5 fields, expected 4 .*quotes"),
        ("x,1", r"captions\.csv:2: got 2 fields, expected 4"),
    ],
)
def test_a_malformed_row_names_file_line_and_column(tmp_path: Path, row: str, message: str) -> None:
    bad, good = read_table(write(tmp_path, f"video,start_s,end_s,text\n{row}\ny,,,fine\n"))
    assert (good.problem, bad.start_s, bad.end_s) == ("", None, None)
    with pytest.raises(BadTranscript, match=message):
        bad.narration(10.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        (",,\n", "got the columns '', expected video,start_s,end_s,text"),
        (
            "video,text\nx,a\n",
            "got the columns 'video,text', expected video,start_s,end_s,text; lacking: start_s, end_s",
        ),
        ('video,start_s,end_s,text\nx,,,a\nx,,,"a\n', r"captions\.csv:3: this row is no CSV"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_table(write(tmp_path, text))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


def test_binary_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(ConfigError, match=r"captions\.csv: captions\.csv:1: byte 0 \(0x89\) is not utf-8"):
        read_table(tmp_path / "captions.csv")


@pytest.mark.shared
def test_the_shared_table(shared_dir: Path) -> None:
    rows = read_table(shared_dir / "data/captions.csv")
    assert len(rows) == 94
    assert not any(row.problem for row in rows)
    assert len({row.video for row in rows}) == 94
