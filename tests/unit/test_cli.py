"""How a command ends."""

import sys
from pathlib import Path

import pytest

from pipeline import cli, commands


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "fabula: stopped; what is committed stays"),
        (RuntimeError("oh"), 1, "this is a bug in Fabula"),
        (OSError(28, "No space left on device"), 1, "No space left on device; make room"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_every_end_has_its_code_and_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def fail(_: object) -> None:
        raise error

    (tmp_path / "c.toml").write_text('root = "store"\n[ingest]\nmedia = "videos"\n')
    monkeypatch.setattr(commands, "status", fail)
    monkeypatch.setattr(sys, "argv", ["fabula", "status", "--config", str(tmp_path / "c.toml")])
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # whom a broken pipe silences
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    assert words in capsys.readouterr().err
