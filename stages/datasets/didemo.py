"""DiDeMo: descriptions of moments, and the chunks of five seconds in which four people (at times more) saw each.

File: `{train,val,test}_data.json`.
"""

from pathlib import Path

from stages.datasets.distinct import Distinct
from stages.datasets.json_file import Node, read_json
from stages.datasets.lines import without_suffix
from stages.datasets.records import Annotations, DatasetVideo, MomentQuery

CHUNK_S = 5.0
NUM_CHUNKS = 6
"""At most: the first 30 seconds of a video were annotated."""


def read_didemo(path: Path, split: str) -> Annotations:
    """Read one of the three files.

    The published lists name some videos under two suffixes (val: 1,094 file names of 1,065 videos): these are one.

    Args:
        path: the file.
        split: which it is.

    Raises:
        ConfigError: it is not such a file, or an annotation_id stands twice; the key is named.
    """
    seen = Distinct("annotation_id")
    names: dict[str, list[str]] = {}
    moments = []
    for node in read_json(path).elements():
        file_name = node["video"].text()
        source_id = without_suffix(file_name)
        if file_name not in (known := names.setdefault(source_id, [])):
            known.append(file_name)
        moment = _moment(node, source_id)
        seen.add(moment.query_id, node.where)
        moments.append(moment)
    videos = (
        DatasetVideo(source_id=source_id, split=split, names=(*known, source_id)) for source_id, known in names.items()
    )
    return Annotations(name=f"DiDeMo {split}", videos=tuple(videos), moments=tuple(moments))


def _moment(node: Node, source_id: str) -> MomentQuery:
    num_chunks = node["num_segments"].whole()
    if not 1 <= num_chunks <= NUM_CHUNKS:
        raise node["num_segments"].wrong(f"1 to {NUM_CHUNKS} chunks")
    times = node["times"].elements()
    if not times:
        raise node["times"].wrong("a [first, last] chunk of at least one annotator")
    return MomentQuery(
        query_id=node["annotation_id"].name(),
        source_id=source_id,
        text=node["description"].text(),
        num_chunks=num_chunks,
        spans=tuple(_chunks(element, num_chunks) for element in times),
    )


def _chunks(node: Node, num_chunks: int) -> tuple[int, int]:
    first, last = (element.whole() for element in node.elements(2))
    if not first <= last < num_chunks:
        raise node.wrong(f"[first, last] with first <= last < {num_chunks} chunks")
    return first, last
