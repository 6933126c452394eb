"""What this machine has: libraries that import, the ffmpeg program, weights, and CUDA builds that fit together."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import stages
from stages.doctor.records import Check, Verdict
from stages.errors import ConfigError

_DEADLINE_S = 300.0
# Import name, distribution. The first ones are needed by every run; decord has no wheel for some machines.
_NEEDED = {
    "numpy": "numpy", "pyarrow": "pyarrow", "av": "av", "ffmpeg": "ffmpeg-python", "imageio_ffmpeg": "imageio-ffmpeg",
    "webdataset": "webdataset", "torch": "torch", "transformers": "transformers", "numba": "numba", "ray": "ray",
}  # fmt: skip
_OPTIONAL = {"decord": "decord"}
_ON_REQUEST = "torchcodec"
_FAISS = "faiss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How importing a library went.

    Attributes:
        version: of its distribution; '' if there is none.
        error: why it cannot be imported; '' if it can.
        facts: what `stages.doctor.imports` asked it.
    """

    version: str
    error: str
    facts: Mapping[str, Any]


def check_machine(*, device: str = "cpu", decoder: str = "pyav") -> list[Check]:
    """Look at libraries, programs and CUDA.

    Args:
        device: where extract is to compute, `cpu` or `cuda`.
        decoder: that it is to use.
    """
    optional = {**_OPTIONAL, **({_ON_REQUEST: _ON_REQUEST} if decoder == _ON_REQUEST else {})}
    found = import_all([*_NEEDED, *optional, _FAISS])
    checks = [_python()]
    checks += [_library(name, _NEEDED[name], found[name], needed=True) for name in _NEEDED]
    checks += [_library(name, dist, found[name], needed=decoder == name) for name, dist in optional.items()]
    checks.append(_program(found["imageio_ffmpeg"]))
    return [
        *checks,
        *check_faiss(_faiss_distributions(), found[_FAISS]),
        *check_cuda(found["torch"], found[_FAISS], device),
    ]


def import_all(names: Sequence[str]) -> dict[str, Imported]:
    """Import libraries in processes of their own; one that ends its process costs the others nothing."""
    found: dict[str, Imported] = {}
    while left := [name for name in names if name not in found]:
        lines, words = _import_process(left)
        for line in lines:
            if name := line.get("imported"):
                found[name] = Imported(version=_version(name), error=line.get("error", ""), facts=line.get("facts", {}))
        if begun := [line["importing"] for line in lines if "importing" in line and line["importing"] not in found]:
            found[begun[-1]] = Imported(version=_version(begun[-1]), error=f"it ends its process: {words}", facts={})
        elif not lines:
            raise RuntimeError(f"the process that imports libraries does not start: {words}")
    return found


def _import_process(names: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    root = str(Path(next(iter(stages.__path__))).parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "stages.doctor.imports", *names], check=False, capture_output=True, text=True,
        timeout=_DEADLINE_S, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    # What a library prints itself is no line of ours.
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"import')]
    return lines, f"exit code {done.returncode}; {done.stderr.strip()[-300:]}"


def _version(name: str) -> str:
    distribution = {**_NEEDED, **_OPTIONAL}.get(name, name)
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _python() -> Check:
    version = platform.python_version()
    return Check(name="python", verdict="ok", found=f"{version} on {platform.machine()}, {os.cpu_count()} cores")


def _library(name: str, distribution: str, found: Imported, *, needed: bool) -> Check:
    if not found.error:
        extra = f", libavcodec {found.facts['libavcodec']}" if "libavcodec" in found.facts else ""
        return Check(name=distribution, verdict="ok", found=(found.version or "version unknown") + extra)
    advice = "install it again: make install" if needed else "without it the decoder of that name cannot be chosen"
    verdict: Verdict = "problem" if needed else "warning"
    return Check(name=distribution, verdict=verdict, found=f"{found.version or 'absent'}: {found.error}", advice=advice)


def _program(found: Imported) -> Check:
    program = found.facts.get("program", "")
    if not program:
        reason = found.error or "imageio-ffmpeg brings none"
        return Check(name="ffmpeg", verdict="problem", found=reason, advice="install it again: make install")
    return Check(name="ffmpeg", verdict="ok", found=f"{found.facts['version']} at {program}")


def _faiss_distributions() -> dict[str, str]:
    names = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions() if dist.metadata["Name"]}
    return {name: version for name, version in sorted(names.items()) if name.startswith("faiss")}


def check_faiss(distributions: Mapping[str, str], found: Imported) -> list[Check]:
    """Judge the installed faiss: exactly one build, and it imports.

    Args:
        distributions: version by name of all that are called faiss-something.
        found: how importing it went.
    """
    listed = ", ".join(f"{name} {version}" for name, version in distributions.items()) or "absent"
    advice = "make install ACCEL=cpu, or ACCEL=cuda"
    if len(distributions) > 1:
        return [
            Check(
                name="faiss", verdict="problem", found=f"{listed}: two builds overwrite each other's files",
                advice=f"uninstall both, then {advice}",
            )
        ]  # fmt: skip
    if found.error or not distributions:
        reason = f"{listed}: {found.error}" if found.error else listed
        return [Check(name="faiss", verdict="problem", found=f"{reason} (index needs it)", advice=advice)]
    return [Check(name="faiss", verdict="ok", found=listed)]


def check_cuda(torch: Imported, faiss: Imported, device: str) -> list[Check]:
    """Judge whether torch and faiss agree about CUDA, and whether the wanted device is there.

    Args:
        torch: with the facts `cuda` (the version that it was built for, or None), `cuda_available`, `devices`.
        faiss: with the facts `gpu_build` and `num_gpus`.
        device: that the settings ask for.
    """
    built, available = torch.facts.get("cuda"), bool(torch.facts.get("cuda_available"))
    devices = ", ".join(torch.facts.get("devices", ())) or "no card"
    faiss_text = f"faiss for {'GPUs, sees ' + str(faiss.facts['num_gpus']) if faiss.facts.get('gpu_build') else 'CPU'}"
    found = f"torch for {'CUDA ' + built if built else 'CPU'}, sees {devices}; {faiss_text}"
    if device == "cuda" and not available:
        why = "torch was built for CPU" if not built else "torch sees no card: look at nvidia-smi and the driver"
        advice = f"settings ask for device = 'cuda', but {why}; set device = 'cpu' or make install ACCEL=cuda"
        return [Check(name="CUDA", verdict="problem", found=found, advice=advice)]
    if available and not faiss.facts.get("num_gpus"):
        advice = "the index is built on the CPU: make install ACCEL=cuda brings the GPU build of faiss"
        return [Check(name="CUDA", verdict="warning", found=found, advice=advice)]
    if faiss.facts.get("gpu_build") and not available:
        advice = "faiss was built for GPUs, torch sees none: make install ACCEL=cpu, or mend torch's CUDA build"
        return [Check(name="CUDA", verdict="warning", found=found, advice=advice)]
    if available and device == "cpu":
        return [
            Check(name="CUDA", verdict="warning", found=found, advice="a card is there: set extract.device = 'cuda'")
        ]
    return [Check(name="CUDA", verdict="ok", found=found)]


def check_weights(label: str, weights: str, error: ConfigError | None, dim: int | None) -> Check:
    """Say whether a network's weights are there and fit.

    Args:
        label: of the features.
        weights: as artifacts name them (`sha256:...`, `random:seed=N`, `hub:...`); '' if they cannot be named.
        error: that opening the network ended with.
        dim: components of its rows, if it opened.
    """
    if error is not None:
        return Check(name=label, verdict="problem", found=weights or "no weights", advice=str(error))
    if weights.startswith("random:"):
        advice = "random weights tell clips apart and know no meaning: give weights for anything but a trial"
        return Check(name=label, verdict="warning", found=f"{weights}, {dim} components", advice=advice)
    return Check(name=label, verdict="ok", found=f"{weights}, all shapes fit, {dim} components")
