"""A whole run that is small: a few rendered videos through every stage, by the real command line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

FABULA = [sys.executable, "-c", "from pipeline.cli import main; main()"]
ROOT = Path(__file__).parents[1]


def small_settings(folder: Path) -> dict[str, Any]:
    """The configuration: 12 train and 8 test videos, an encoder of one layer, ten steps."""
    return {
        "name": "small",
        "root": str(folder / "store"),
        "encoder": "train",
        "executor": {"kind": "inline", "workers": 1},
        "corpus": {
            "num_train": 12, "num_val": 0, "num_test": 8, "num_train_pairs": 2, "num_pairs": 2, "min_scenes": 2,
            "max_scenes": 3, "width": 64, "height": 64,
        },
        "ingest": {"media": str(folder / "corpus" / "videos"), "videos_per_unit": 8},
        "extract": {"videos_per_shard": 5, "window_s": 4.0, "stride_s": 2.0},
        "align": {"videos_per_unit": 8},
        "train": {
            "splits": str(folder / "corpus" / "splits.csv"),
            "objective": {
                "kind": "videoclip",
                "batch_videos": 4,
                "encoder": {
                    "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "video_layers": 1, "text_layers": 1,
                    "vocab_size": 400,
                },
                "sampling": {"draws_per_video": 4, "min_rows": 1, "max_rows": 4},
            },
            "optimisation": {"steps": 10, "warmup_steps": 2, "threads": 1, "learning_rate": 1e-3},
            "checkpoint_every": 3,
        },
        "embed": {"window_s": 4.0, "stride_s": 2.0},
        "evaluate": {"splits": str(folder / "corpus" / "splits.csv"), "num_resamples": 100},
    }  # fmt: skip


@dataclass(frozen=True)
class SmallRun:
    """A folder with a configuration, and the command line on it."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "small.toml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def videos(self) -> Path:
        return self.folder / "corpus" / "videos"

    def write(self, **changes: Any) -> "SmallRun":
        """Write the configuration; `section__key=value` changes a value."""
        settings = small_settings(self.folder)
        for name, value in changes.items():
            table: dict[str, Any] = settings
            *sections, last = name.split("__")
            for section in sections:
                table = table.setdefault(section, {})
            table[last] = value
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(tomli_w.dumps(settings))
        return self

    def fabula(
        self, *arguments: str, code: int | Sequence[int] | None = 0, stdin: str = "", config: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `fabula COMMAND --config ... REST`; check the exit code, and that no traceback is shown."""
        command = [*FABULA, *arguments[0].split(), "--config", str(config or self.config), *arguments[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=environment,
            cwd=self.folder,
            timeout=900,
        )
        allowed = [code] if isinstance(code, int) else code
        assert allowed is None or done.returncode in allowed, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and read its answer."""
        return json.loads(self.fabula(*arguments, "--json", code=code).stdout)

    def metrics(self, unit_id: str) -> Any:
        """metrics.json of one unit of the newest evaluation."""
        newest = next(a for a in self.json("status")["artifacts"] if a["label"] == "evaluation")
        (path,) = (self.store / newest["artifact"]).glob(f"metrics-{unit_id}-*.json")
        return json.loads(path.read_bytes())

    def committed(self) -> dict[str, bytes]:
        """Every file of every artifact, without attempts and what is being worked on."""
        skipped = {"runs", "stat-cache"}
        return {
            str(path.relative_to(self.store)): path.read_bytes()
            for path in sorted(self.store.rglob("*"))
            if path.is_file()
            and path.relative_to(self.store).parts[0] not in skipped
            and path.relative_to(self.store).parts[2] not in {"attempts", "staging", "scratch"}
        }

    def events(self, kind: str) -> list[dict[str, Any]]:
        """All events of a kind, over all runs."""
        lines = [
            line for path in sorted(self.store.glob("runs/*/events.jsonl")) for line in path.read_text().splitlines()
        ]
        return [event for event in map(_parse, lines) if event.get("event") == kind]


def _parse(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:  # torn by a kill
        return {}
    return event


def copy_run(source: SmallRun, folder: Path) -> SmallRun:
    """The same corpus and store somewhere else, with hard links kept apart: a copy may be changed."""
    shutil.copytree(source.folder, folder, dirs_exist_ok=True)
    return SmallRun(folder).write()
