"""ActivityNet Captions: videos told in several sentences with their times.

File: `train.json`, `val_1.json`, `val_2.json`.
"""

from pathlib import Path

from stages.datasets.json_file import Node, read_json
from stages.datasets.records import Annotations, Caption, DatasetVideo


def read_activitynet(path: Path, split: str) -> Annotations:
    """Read one of the files.

    Ends that lie a hair after the annotated duration are kept as they are. Published files hold a few sentences whose
    end is not after their start; these keep their place in the paragraph without times, and a remark names each.

    Args:
        path: the file.
        split: which it is; val_1 and val_2 are the field's test sets.

    Raises:
        ConfigError: it is not such a file; the key is named.
    """
    videos, captions, remarks = [], [], []
    for source_id, node in read_json(path).items():
        videos.append(
            DatasetVideo(
                source_id=source_id,
                split=split,
                duration_s=node["duration"].number(),
                names=(source_id, source_id.removeprefix("v_")),
            )
        )
        times = node["timestamps"].elements()
        for index, (sentence, time) in enumerate(zip(node["sentences"].elements(len(times)), times, strict=True)):
            start_s, end_s = _times(time)
            if start_s is None:
                remarks.append(f"{time.where}: end is not after start ({time.value}): the sentence has no times")
            captions.append(
                Caption(source_id=source_id, index=index, text=sentence.text(), start_s=start_s, end_s=end_s)
            )
    return Annotations(
        name=f"ActivityNet Captions ({path.stem})",
        videos=tuple(videos),
        captions=tuple(captions),
        remarks=tuple(remarks),
    )


def _times(node: Node) -> tuple[float, float] | tuple[None, None]:
    start_s, end_s = (element.number() for element in node.elements(2))
    return (start_s, end_s) if start_s < end_s else (None, None)
