"""`python -m stages.doctor.imports NAME...`: imports libraries one after the other and says of each how it went.

It runs in a process of its own: a library of the wrong build may end the process that imports it.
"""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def main(names: Sequence[str]) -> None:
    """Write one JSON line a library: its name first, so that a crash can be told, then what was found."""
    for name in names:
        _tell({"importing": name})
        try:
            module: Any = importlib.import_module(name)
            facts = _FACTS[name](module) if name in _FACTS else {}
        except (ImportError, OSError, AttributeError, RuntimeError, ValueError) as error:
            _tell({"imported": name, "error": f"{type(error).__name__}: {error}"})
        else:
            _tell({"imported": name, "facts": facts})


def _tell(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _torch_facts(torch: Any) -> dict[str, Any]:
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"cuda": torch.version.cuda, "cuda_available": torch.cuda.is_available(), "devices": names}


def _faiss_facts(faiss: Any) -> dict[str, Any]:
    built = hasattr(faiss, "StandardGpuResources")
    return {"gpu_build": built, "num_gpus": faiss.get_num_gpus() if built else 0}


def _ffmpeg_facts(imageio_ffmpeg: Any) -> dict[str, Any]:
    return {
        "program": imageio_ffmpeg.get_ffmpeg_exe(),
        "version": imageio_ffmpeg.get_ffmpeg_version(),
        "on_path": shutil.which("ffmpeg"),
    }


def _av_facts(av: Any) -> dict[str, Any]:
    return {"libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}


_FACTS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "torch": _torch_facts,
    "faiss": _faiss_facts,
    "imageio_ffmpeg": _ffmpeg_facts,
    "av": _av_facts,
}

if __name__ == "__main__":
    main(sys.argv[1:])
