"""The command `fabula`: the only place that prints. Exit codes: 0 done, 1 failed, 2 bad usage or config, 3 open."""

import io
import json
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.memory import collect_garbage_seldom
from pipeline.config import RunConfig, check_import, load_config, section_toml
from stages.artifacts.durable import storage_problem
from stages.errors import ConfigError, FabulaError

if TYPE_CHECKING:
    from pipeline.ask import Place
    from pipeline.run import Outcome

FAILED, BAD_CONFIG, OPEN, STOPPED = 1, 2, 3, 130

app = typer.Typer(
    help="From a folder of videos and their narrations to an index that answers a paragraph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path, typer.Option("--config", help="One TOML file, or the folder of a store or run.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, over the file; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


def main() -> None:
    """Run the command line; every error ends in one message and an exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    collect_garbage_seldom()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack letters that a video's narration has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except ConfigError as error:
        _fail(str(error), BAD_CONFIG)
    except FabulaError as error:
        _fail(str(error), FAILED)
    except SystemExit as end:
        if end.code == STOPPED:  # so typer ends what Ctrl-C stops
            _stop()
        raise
    except OSError as error:
        _fail(storage_problem(error) or _bug(), FAILED)
    except Exception:  # noqa: BLE001 - the last resort
        _fail(_bug(), FAILED)


def _bug() -> str:
    """A bug is shown whole, and asked to be reported."""
    return f"{traceback.format_exc()}\nfabula: this is a bug in Fabula; please report it with the text above"


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"fabula: {message}\n" if not message.startswith("Traceback") else message + "\n")
    sys.exit(code)


def _stop() -> None:
    from pipeline.executors.inline import is_at_work

    sys.stderr.write("fabula: stopped; what is committed stays: run the same command again to go on\n")
    if is_at_work():  # a second Ctrl-C: Python would wait for threads that the unit has started
        sys.stderr.flush()
        os._exit(STOPPED)
    sys.exit(STOPPED)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say_json(value: Any) -> None:
    knows_all = (sys.stdout.encoding or "").lower().startswith("utf")  # JSON has escapes of its own for the rest
    _say(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=not knows_all))


@app.command()
def plan(config: Config, set_: Set = None, as_json: Json = False) -> None:
    """Say what a run would do, and why."""
    from pipeline import commands

    plans = commands.plan(_load(config, set_))
    if as_json:
        _say_json(plans)
        return
    for stage in plans:
        if "after" in stage:
            _say(f"{stage['stage']:<9} after {stage['after']}")
        for artifact in stage.get("artifacts", ()):
            counts = ", ".join(f"{name} {artifact[name]}" for name in ("done", "adopt", "run") if artifact[name])
            _say(f"{stage['stage']:<9} {artifact['label']:<14} {artifact['artifact']:<26} {counts or 'nothing to do'}")
            for reason, units in artifact["why"].items():
                _say(f"{'':<10}run {len(units)}: {reason} ({_some(units)})")


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", ... {len(names) - most} more" if len(names) > most else "")


@app.command()
def run(
    config: Config,
    set_: Set = None,
    only: Annotated[str | None, typer.Option(help="Run this stage alone.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    executor: Annotated[str | None, typer.Option(help="ray or inline, over the file.")] = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every media file again.")] = False,
    as_json: Json = False,
) -> None:
    """Run the stages that are not done."""
    from pipeline import commands

    overrides = [*(set_ or []), *([f"executor.kind={executor}"] if executor else [])]
    _end(commands.run(_load(config, overrides), only=only, until=until, rehash=rehash), as_json)


def _end(outcome: "Outcome", as_json: bool) -> None:
    """Say what a run came to, and leave with its exit code."""
    from pipeline import show

    if as_json:
        references = {label: artifact.directory.reference for label, artifact in outcome.artifacts.items()}
        _say_json({"totals": outcome.totals, "open": outcome.open_units, "artifacts": references})
    for unit, reason in outcome.open_units.items():
        sys.stderr.write(f"open: {unit}: {reason}\n")
    if outcome.open_units:
        sys.stderr.write(f"fabula: {len(outcome.open_units)} units are still open; run the same command again\n")
        raise SystemExit(OPEN)
    if "evaluation" in outcome.artifacts and not as_json:
        _say(show.evaluation_text(outcome.artifacts["evaluation"]))
    num_failed = len(outcome.failed_inputs)
    hint = "; fabula status lists them" if num_failed else ""
    sys.stderr.write(f"done; {num_failed} inputs with named failures{hint}\n")


@app.command()
def status(config: Config, set_: Set = None, as_json: Json = False) -> None:
    """Show what is there, what is open, and every named failure."""
    from pipeline import commands

    found = commands.status(_load(config, set_))
    if as_json:
        _say_json(found)
        return
    if not found["artifacts"]:
        _say("nothing was made yet: fabula run --config ...")
    for artifact in found["artifacts"]:
        state = "sealed" if artifact["sealed"] else f"{artifact['open']} of {artifact['units']} units open"
        _say(
            f"{artifact['label']:<14} {artifact['artifact']:<26} {state:<10} {artifact['inputs']} inputs = "
            f"{artifact['successes']} ok + {len(artifact['failures'])} failed"
        )
        for failure in artifact["failures"]:
            _say(f"  {failure['state']} ({failure['cause']}): {failure['message']}")


@app.command()
def doctor(
    path: Annotated[Path | None, typer.Argument(help="A media folder or table; without it, that of --config.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="As which run would extract it.")] = None,
    set_: Set = None,
    full: Annotated[
        bool, typer.Option("--full", help="Decode every file: the states that extract would give.")
    ] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="To measure for the forecast; 0: none.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Examine videos before a run: which are unusable and why, what it would cost, and whether this machine can."""
    from pipeline import commands

    found = commands.doctor(path, _load(config, set_) if config else None, full=full, seconds=seconds)
    if as_json:
        _say_json(found.to_json())
    else:
        _say("\n".join(found.lines()))
    if found.has_problem:
        raise SystemExit(FAILED)


import_app = typer.Typer(help="Bring in what others made.", no_args_is_help=True)
app.add_typer(import_app, name="import")


@import_app.command("features")
def import_features(
    folder: Annotated[Path, typer.Argument(help="Holds one .npy file a video.")],
    config: Config,
    backbone: Annotated[
        str, typer.Option(help="What the features are called: s3d or clip if ours shall read them.")
    ] = "s3d",
    suffix: Annotated[str, typer.Option(help="What follows a video's name.")] = ".npy",
    rate: Annotated[float, typer.Option(help="Rows a second.")] = 1.0,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Make a features artifact of .npy files (HowTo100M, VideoCLIP, CLIP, I3D): one row a second, or --rate."""
    from pipeline import commands

    imported = check_import(folder=folder.absolute(), backbone=backbone, suffix=suffix, rate=rate)
    settings = _load(config, set_)
    _end(commands.import_features(settings, imported), as_json)
    store = shlex.quote(str(settings.root))
    sys.stderr.write(
        f"to go on with these features: fabula run --config {store}, whose newest run this was, "
        f"or add to the configuration:\n\n{section_toml('imported', imported)}"
    )


@import_app.command("checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A published file: VideoCLIP, TempCLR, VCLR, MoCo, ResNet or S3D-G.")],
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Of VideoCLIP and TempCLR: bert-base-uncased.")] = None,
    as_json: Json = False,
) -> None:
    """Write published weights in our layout: safetensors with a model card, in a folder that every command takes."""
    from pipeline import commands

    what, names = commands.import_checkpoint(file, to, tokenizer)
    if as_json:
        _say_json({"what": what, "files": names})
    else:
        _say(f"{file} is {what}: wrote {', '.join(names)} to {to}")


@import_app.command("captions")
def import_captions(
    file: Annotated[Path, typer.Argument(help="HowTo100M's: raw_caption.json, caption.json, sentencified, or .pkl.")],
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Write HowTo100M's captions as one WebVTT file a video, a folder for `align.captions`."""
    from pipeline import commands

    counts = commands.import_captions(file, to)
    if as_json:
        _say_json(counts)
    else:
        _say(
            f"wrote {counts['captions']} captions of {counts['videos']} videos to {to}; {counts['silent']} videos say "
            f"nothing, {counts['skipped']} entries had no text or no length"
        )


@app.command()
def verify(
    config: Annotated[Path | None, typer.Option("--config", help="The run whose artifacts are verified.")] = None,
    set_: Set = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option("--compare", help="Two features artifacts: cosine statistics instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hash again everything that is committed, and compare."""
    from pipeline import commands

    if compare is not None:
        comparison = commands.compare(*compare)
        if as_json:
            _say_json(comparison.to_json())
        else:
            _say("\n".join(comparison.lines()))
        return
    if config is None:
        raise ConfigError("verify: say what to verify: --config FILE, or --compare DIR DIR")
    result = commands.verify(_load(config, set_))
    if as_json:
        _say_json(result)
    else:
        for problem in result["problems"]:
            _say(problem)
        _say(f"{result['files']} files, {result['bytes'] / 2**20:.1f} MiB: {len(result['problems'])} problems")
    if result["problems"]:
        raise SystemExit(FAILED)


@app.command()
def retry(config: Config, set_: Set = None, as_json: Json = False) -> None:
    """Reopen the units that hold failures: the next run does them again, and adopts all others."""
    from pipeline import commands

    reopened = commands.retry(_load(config, set_))
    if as_json:
        _say_json(reopened)
    else:
        _say(f"reopened {len(reopened)} units: {_some(reopened)}" if reopened else "no unit holds a failure")


@app.command()
def prune(
    config: Config,
    set_: Set = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete artifacts that no newest run of any configuration needs, and half-written files."""
    from pipeline import commands

    result = commands.prune(_load(config, set_), delete=yes)
    if as_json:
        _say_json(result)
        return
    verb = "deleted" if yes else "would delete"
    for path in result["paths"]:
        _say(f"{verb} {path}")
    _say(
        f"{verb} {len(result['paths'])} folders and files, {result['bytes'] / 2**20:.1f} MiB"
        + ("" if yes else "; add --yes")
    )


@app.command()
def query(
    sentence: Annotated[str | None, typer.Argument(help="What happens in it.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The run whose newest index is asked.")] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="An index folder instead of a run.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="With --bundle: frozen weights, clip:PATH or s3d-text:PATH.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="With --bundle: the words of such weights.")] = None,
    paragraph: Annotated[str | None, typer.Option("--paragraph", help="A text file, or - for standard input.")] = None,
    like: Annotated[str | None, typer.Option("--like", help="Name of a video: find similar ones.")] = None,
    num_hits: Annotated[int, typer.Option("--hits", "-k", min=1, help="How many.")] = 5,
    rerank: Annotated[int, typer.Option(min=0, help="Best moments that a fusion (TACo) scores again; 0: none.")] = 100,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Ask an index: a sentence, a paragraph, or a video."""
    from pipeline import ask, show

    if sum(question is not None for question in (sentence, paragraph, like)) != 1:
        raise ConfigError("ask one question: a sentence, --paragraph FILE|-, or --like VIDEO")
    place = _place(config, bundle, encoder, tokenizer, None, set_)
    if like is not None:
        answer = ask.ask_like(place, like, num_hits=num_hits)
    else:
        answer = ask.ask_text(place, sentence=sentence, paragraph=paragraph, num_hits=num_hits, rerank=rerank)
    if as_json:
        _say_json(answer.to_json())
    else:
        _say(show.answer_text(answer))


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option("--config", help="The run whose newest index is served.")] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="An index folder instead of a run.")] = None,
    media: Annotated[Path | None, typer.Option("--media", help="With --bundle: the folder of the videos.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="With --bundle: frozen weights, clip:PATH or s3d-text:PATH.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="With --bundle: the words of such weights.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    set_: Set = None,
) -> None:
    """Serve an index over HTTP, with a page to search in and to watch what was found."""
    from pipeline import ask

    place = _place(config, bundle, encoder, tokenizer, media, set_)
    ask.serve(place, host=host, port=port, on_ready=lambda url: _say(f"serving {url}  (Ctrl-C stops)"))


@app.command()
def pool(
    configs: Annotated[list[Path], typer.Option("--config", help="A run of one seed; repeat with --name.")],
    names: Annotated[list[str], typer.Option("--name", help="Name that the run was given by --set name=...")],
    as_json: Json = False,
) -> None:
    """Pool the evaluations of runs that differ in their seeds: means over seeds, intervals over queries and seeds."""
    from pipeline import commands
    from stages.evaluation.summary import pooled_lines

    runs = [_load(config, [f"name={name}"]) for config in configs for name in names]
    scores = commands.pool(runs)
    if as_json:
        _say_json([asdict(score) for score in scores])
    else:
        _say("\n".join(pooled_lines(scores, runs[0].evaluate.confidence)))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A TOML file, a store, or the folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Json = False,
) -> None:
    """Compare two evaluations on the queries that both measured: differences with paired intervals."""
    from pipeline import commands
    from stages.evaluation.comparison import comparison_lines

    differences, confidence = commands.compare_evaluations(first, second)
    if as_json:
        _say_json([found.to_json() for found in differences])
    else:
        _say("\n".join(comparison_lines(differences, confidence)))


@app.command()
def table(
    file: Annotated[Path, typer.Argument(help="A TOML file of tables: methods, their runs, and measures.")],
    to: Annotated[Path | None, typer.Option("--to", help="Write the tables there, too, in Markdown.")] = None,
    as_json: Json = False,
) -> None:
    """Set methods side by side: scores over all seeds and paired differences to a baseline, with intervals."""
    from pipeline import commands
    from stages.evaluation.method_table import markdown_text, table_lines

    tables = commands.tables_of_methods(file)
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(markdown_text(tables), encoding="utf-8")
    if as_json:
        _say_json([found.to_json() for found in tables])
    else:
        _say("\n".join(line for found in tables for line in table_lines(found)))


@app.command()
def export(
    config: Config,
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    label: Annotated[str, typer.Option("--label", help="checkpoint, or index.")] = "checkpoint",
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Copy the newest checkpoint or index out of the store: a folder that can be moved and used anywhere."""
    from pipeline import commands

    names = commands.export(_load(config, set_), label, to)
    if as_json:
        _say_json(names)
    else:
        _say(f"wrote {', '.join(names)} to {to}")


@app.command()
def corpus(config: Config, set_: Set = None, as_json: Json = False) -> None:
    """Render the generated corpus that the configuration describes into its media folder."""
    from pipeline import commands

    with _counter("rendering") as on_video:
        summary = commands.render(_load(config, set_), on_video)
    if as_json:
        _say_json(summary)
    else:
        _say(", ".join(f"{name} {value}" for name, value in summary.items()))


@contextmanager
def _counter(what: str) -> Iterator[Any]:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            sys.stderr.write(f"\r{what} {done}/{total}")

    yield show
    sys.stderr.write("\n")


def _place(
    config: Path | None,
    bundle: Path | None,
    encoder: str | None,
    tokenizer: Path | None,
    media: Path | None,
    overrides: list[str] | None,
) -> "Place":
    """Where to look: a run or a bundle."""
    from pipeline import ask

    if config is not None and bundle is None:
        return ask.place_of_run(_load(config, overrides))
    if bundle is not None and config is None:
        return ask.place_of_bundle(bundle, encoder, tokenizer, media)
    raise ConfigError("say where to look: --config FILE or --bundle DIR, one of the two")


def _load(config: Path, overrides: list[str] | None) -> RunConfig:
    return load_config(config, overrides or ())
