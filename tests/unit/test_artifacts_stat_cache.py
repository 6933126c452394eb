"""What is read again: changed files alone, whoever looks at the folder."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.artifacts.hashing import fingerprint, hash_bytes
from stages.artifacts.layout import Store
from stages.artifacts.stat_cache import ContentHashes, FoundFile, folder_as_file, scan


class Reader:
    """Resolves the files of a folder with one suffix, and says how many bytes were read for it."""

    def __init__(self, root: Path) -> None:
        self.store, self.folder = Store(root / "store"), root / "files"
        self.folder.mkdir()

    def files(self, suffix: str) -> list[FoundFile]:
        return [file for file in scan(self.folder) if file.path.endswith(suffix)]

    def read(self, suffix: str, *, rehash: bool = False) -> tuple[dict[str, str], int]:
        done = [0]
        hashes = ContentHashes(self.store, self.folder).resolve(
            self.files(suffix), rehash=rehash, on_progress=lambda bytes_done, _: done.append(bytes_done)
        )
        return dict(hashes), done[-1]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    reader = Reader(tmp_path)
    for name in ("a.mp4", "b.mp4", "a.npy"):
        (reader.folder / name).write_bytes(name.encode() * 10)
    return reader


def test_only_what_changed_is_read_again(reader: Reader) -> None:
    hashes, done = reader.read(".mp4")
    assert hashes == {name: hash_bytes(name.encode() * 10) for name in ("a.mp4", "b.mp4")}
    assert (done, reader.read(".mp4")) == (100, (hashes, 0))
    (reader.folder / "b.mp4").write_bytes(b"new content")
    assert reader.read(".mp4") == ({**hashes, "b.mp4": hash_bytes(b"new content")}, 11)
    assert reader.read(".mp4", rehash=True)[1] == 61


def test_two_stages_that_look_at_one_folder_leave_each_other_s_hashes(reader: Reader) -> None:
    reader.read(".mp4")
    reader.read(".npy")
    assert reader.read(".mp4")[1] == 0
    assert reader.read(".npy")[1] == 0


def test_what_cannot_be_read_is_tried_again(reader: Reader) -> None:
    os.mkfifo(reader.folder / "pipe.mp4")
    assert reader.read(".mp4")[0]["pipe.mp4"] == ""
    (reader.folder / "pipe.mp4").unlink()
    (reader.folder / "pipe.mp4").write_bytes(b"now a file")
    assert reader.read(".mp4")[0]["pipe.mp4"] == hash_bytes(b"now a file")


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(reader: Reader) -> None:
    (reader.folder / "round.mp4").symlink_to("round.mp4")
    (reader.folder / "gone.mp4").symlink_to("nowhere")
    hashes, _ = reader.read(".mp4")
    assert hashes["round.mp4"] == hashes["gone.mp4"] == ""
    assert len(hashes) == 4


def test_inode_numbers_may_have_all_their_64_bits(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network file systems."""
    of = FoundFile.of

    def with_sign(path: str, stat: os.stat_result) -> FoundFile:
        fields = {"st_size": stat.st_size, "st_mtime_ns": stat.st_mtime_ns, "st_ino": stat.st_ino | 1 << 63}
        return of(path, cast("os.stat_result", SimpleNamespace(**fields)))

    monkeypatch.setattr(FoundFile, "of", with_sign)
    hashes, _ = reader.read(".mp4")
    assert reader.read(".mp4") == (hashes, 0)


def test_a_folder_that_cannot_be_read_is_left_out(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As `lost+found`, which is root's, or a folder that somebody deletes just now."""
    scandir, folders = os.scandir, {"lost+found": errno.EACCES, "deleted": errno.ENOENT}
    for name in folders:
        (reader.folder / name).mkdir()
        (reader.folder / name / "c.mp4").touch()

    def refuse(path: Path) -> Any:
        if (number := folders.get(Path(path).name)) is not None:
            raise OSError(number, os.strerror(number))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert {file.path for file in reader.files(".mp4")} == {"a.mp4", "b.mp4"}
    assert [record.getMessage() for record in caplog.records] == [
        "folder_not_readable path=lost+found error=Permission denied"
    ]
    folders["files"] = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        reader.files(".mp4")


def test_a_file_that_vanishes_is_not_there(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir
    (reader.folder / "gone.mp4").touch()

    class Entries:
        def __init__(self, path: Path) -> None:
            self._found = sorted(scandir(path), key=lambda entry: entry.name)

        def __enter__(self) -> list[Any]:
            (reader.folder / "gone.mp4").unlink(missing_ok=True)
            return self._found

        def __exit__(self, *_: object) -> None:
            """Nothing is open."""

    monkeypatch.setattr(os, "scandir", Entries)
    assert {file.path for file in reader.files(".mp4")} == {"a.mp4", "b.mp4"}


def test_names_in_a_folder_may_be_no_utf_8(reader: Reader) -> None:
    pictures = reader.folder / "pictures"
    pictures.mkdir()
    (pictures / "frame_00001.jpg").write_bytes(b"1")

    def look() -> tuple[FoundFile, str]:
        folder = folder_as_file("pictures", [file for file in scan(reader.folder) if file.path.startswith("pictures/")])
        hashes = ContentHashes(reader.store, reader.folder).resolve([folder], on_progress=lambda *_: None)
        return folder, hashes["pictures"]

    plain, content = look()
    assert content == fingerprint([["frame_00001.jpg", hash_bytes(b"1")]])
    (pictures / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"2")
    strange, strange_content = look()
    assert plain.key != strange.key
    assert strange_content == fingerprint([["caf\\xe9.txt", hash_bytes(b"2")], ["frame_00001.jpg", hash_bytes(b"1")]])
