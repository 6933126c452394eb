"""How a command ends, and how it speaks."""

import io
import json
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


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--rate", "0"], "fabula import features: rate: got 0.0; input should be greater than 0"),
        (["--backbone", "I3D"], "fabula import features: backbone: got 'I3D'; string should match"),
        (["--suffix", ".pt"], "fabula import features: suffix: got '.pt'; string should match"),
    ],
)
def test_options_of_an_import_are_the_user_s_mistake(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    command = ["fabula", "import", "features", str(tmp_path), "--config", str(tmp_path / "c.toml"), *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("as_json", [False, True])
def test_letters_that_the_terminal_lacks_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, *, as_json: bool
) -> None:
    said = "é \u2014 \U0001f600"
    (tmp_path / "c.toml").write_text('root = "store"\n[ingest]\nmedia = "videos"\n')
    monkeypatch.setattr(commands, "retry", lambda _: [said])
    monkeypatch.setattr(sys, "argv", ["fabula", "retry", "--config", str(tmp_path / "c.toml"), *["--json"] * as_json])
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding=encoding))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    text = screen.getvalue().decode(encoding)
    if as_json:
        assert json.loads(text) == [said]
    else:
        assert text.strip() == f"reopened 1 units: {said.encode(encoding, 'backslashreplace').decode(encoding)}"
