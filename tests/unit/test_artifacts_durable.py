"""Links where there are some, copies where there are none, folders that are synced into the one above."""

import errno
import os
from pathlib import Path

import pytest

from stages.artifacts.durable import link_or_copy, make_dir, publish, replace, storage_problem


def refuse_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(source), None, str(target))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
def test_where_there_is_no_link_a_copy_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (tmp_path / "source").write_bytes(b"features")
    refuse_links(monkeypatch, code)
    link_or_copy(tmp_path / "source", tmp_path / "deep" / "target")
    assert [path.read_bytes() for path in (tmp_path / "deep").iterdir()] == [b"features"]


def test_a_link_is_a_second_name_and_replaces_what_lay_there(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    link_or_copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").samefile(tmp_path / "source")
    (tmp_path / "there").write_bytes(b"old")
    for _ in range(2):
        link_or_copy(tmp_path / "source", tmp_path / "there")
        assert (tmp_path / "there").samefile(tmp_path / "source")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target", "there"]


def test_publishing_without_links_still_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.EPERM)
    assert publish(tmp_path / "x.json", b"1")
    assert not publish(tmp_path / "x.json", b"2")
    assert (tmp_path / "x.json").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("write", [publish, replace])
def test_a_full_disk_leaves_nothing_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_dir(tmp_path / "folder")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "folder" / "x.json", b"1")  # type: ignore[operator]
    assert not list((tmp_path / "folder").iterdir())


def test_each_new_folder_is_synced_into_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr("stages.artifacts.durable.sync_dir", synced.append)
    make_dir(tmp_path / "a" / "b")
    make_dir(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_only_the_storage_is_to_blame_for_some_errors() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.tar")
    assert str(storage_problem(full)).startswith("x.tar: No space left on device; make room")
    assert storage_problem(FileNotFoundError(errno.ENOENT, "No such file", "x.tar")) is None
