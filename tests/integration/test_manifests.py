"""Whose ids and positions a run goes on from: those of its store and folder."""

import json
from pathlib import Path

import pytest

from pipeline import commands
from pipeline.config import load_config
from stages.artifacts.manifest import Member, read_members
from tests.media import Numbered, make_video


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders, in each of which lies another `clip.mp4`."""
    root = tmp_path_factory.mktemp("media")
    for number, name in enumerate(("a", "b")):
        (root / name).mkdir()
        make_video(root / name / "clip.mp4", Numbered(num_frames=4 + number))
    return root


def ingest(tmp_path: Path, media: Path, name: str = "corpus") -> tuple[str, list[Member]]:
    """Reference and members of the manifest."""
    config = tmp_path / f"{name}.toml"
    values = {"root": str(tmp_path / "store"), "media": str(media)}
    config.write_text(
        f"root = {json.dumps(values['root'])}\n[executor]\nkind = 'inline'\n"
        f"[ingest]\nmedia = {json.dumps(values['media'])}\n"
    )
    outcome = commands.run(load_config(config), only=None, until="ingest", rehash=False)
    manifest = outcome.artifacts["manifest"]
    return manifest.directory.reference, read_members(manifest)


def test_a_run_on_another_folder_in_between_changes_nothing(tmp_path: Path, media: Path) -> None:
    first, _ = ingest(tmp_path, media / "a")
    _, (other,) = ingest(tmp_path, media / "b")
    assert (other.position, other.video_id) == (0, "clip")
    assert ingest(tmp_path, media / "a")[0] == first


def test_ids_stay_under_another_name_and_through_a_table(tmp_path: Path, media: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "m.mp4").write_bytes((media / "a" / "clip.mp4").read_bytes())
    ingest(tmp_path, folder, "one")
    (folder / "c.mp4").write_bytes((media / "b" / "clip.mp4").read_bytes())
    (folder / "table.csv").write_text("path\nm.mp4\nc.mp4\n")
    for source, name in ((folder, "two"), (folder / "table.csv", "three")):
        _, members = ingest(tmp_path, source, name)
        assert [(member.video_id, member.position) for member in members] == [("m", 0), ("c", 1)]
