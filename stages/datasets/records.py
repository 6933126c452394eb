"""The records that every data set's files are read into, so that a protocol does not know where they come from.

Times are float64 seconds, intervals half-open [start_s, end_s). A `source_id` is a data set's own name of a video;
`join` says which video of a manifest it means.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from stages.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVideo:
    """One video that a data set names.

    Attributes:
        source_id: its name there, without a file suffix; unique unless the data set names it in several groups.
        split: train, val or test; '' if the file does not say, or does not use the video.
        duration_s: as annotated, None if the file does not say.
        group: the recipe (YouCook2), task (CrossTask) or class (COIN, UCF101, ...) that it belongs to, '' for none.
        names: under which files of it are looked for, in this order; empty: the source id alone.
    """

    source_id: str
    split: str = ""
    duration_s: float | None = None
    group: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """One sentence about a video or about a part of it.

    Attributes:
        source_id: the video.
        index: its place among the video's captions as distributed, from 0.
        text: white space at both ends removed.
        start_s: where the part begins; None (with end_s) where it is about the whole video.
        end_s: where it ends, after start_s.
    """

    source_id: str
    index: int
    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One labelled part of a video.

    Attributes:
        source_id: the video.
        index: its place among the video's segments as distributed, from 0.
        label_index: the `ClassLabel.index` of its step, or the place in `Task.steps` (CrossTask, from 0).
        label: the step in words.
        start_s: where it begins.
        end_s: where it ends, after start_s.
        group: the task that the steps belong to (CrossTask), '' where all videos share one list of steps.
    """

    source_id: str
    index: int
    label_index: int
    label: str
    start_s: float
    end_s: float
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One multiple-choice question about a whole video.

    Attributes:
        question_id: unique in its file.
        source_id: the video.
        options: the answers to choose from.
        answer: place of the right one, from 0.
    """

    question_id: str
    source_id: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentQuery:
    """One description, and where in its video each annotator saw it (DiDeMo).

    Attributes:
        query_id: unique in its file.
        source_id: the video.
        text: the description.
        num_chunks: how many chunks of five seconds the video has.
        spans: (first, last) chunk of each annotator, both inclusive, from 0.
    """

    query_id: str
    source_id: str
    text: str
    num_chunks: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A video, or a run of its frames, and its class.

    Attributes:
        source_id: the video.
        label_index: the `ClassLabel.index` of its class.
        first_frame: where the run begins, None for the whole video.
        num_frames: how many frames there are, None if the list does not say.
    """

    source_id: str
    label_index: int
    first_frame: int | None = None
    num_frames: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabel:
    """One class, or one step that several videos share.

    Attributes:
        index: its number: from 0, except COIN's steps, which keep 1..778 because 0 is the background.
        name: in words.
    """

    index: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task with its steps in order (CrossTask).

    Attributes:
        task_id: its number as text.
        title: what is done.
        url: where its description stands.
        steps: in words, in order.
        is_primary: it is one of those that are scored; the related ones are for training only.
    """

    task_id: str
    title: str
    url: str
    steps: tuple[str, ...]
    is_primary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """What the files of a data set say. A kind of record that it does not have stays empty.

    Attributes:
        name: of the data set and the part of it, for reports.
        videos: in the order of the file.
        captions: in the order of the file; a video's captions stand together.
        segments: likewise.
        questions: likewise.
        moments: likewise.
        labelled: likewise.
        classes: of whole videos, by index.
        steps: of segments, by index.
        tasks: in the order of the file.
        remarks: what is known to be wrong in published files and was read around, one line an entry.
    """

    name: str
    videos: tuple[DatasetVideo, ...]
    captions: tuple[Caption, ...] = ()
    segments: tuple[Segment, ...] = ()
    questions: tuple[Question, ...] = ()
    moments: tuple[MomentQuery, ...] = ()
    labelled: tuple[Labelled, ...] = ()
    classes: tuple[ClassLabel, ...] = ()
    steps: tuple[ClassLabel, ...] = ()
    tasks: tuple[Task, ...] = ()
    remarks: tuple[str, ...] = ()

    def only(self, source_ids: Collection[str]) -> "Annotations":
        """The same without the videos, and what is said about them, that are not among `source_ids` (best a set)."""
        return replace(
            self,
            videos=tuple(video for video in self.videos if video.source_id in source_ids),
            captions=tuple(caption for caption in self.captions if caption.source_id in source_ids),
            segments=tuple(segment for segment in self.segments if segment.source_id in source_ids),
            questions=tuple(question for question in self.questions if question.source_id in source_ids),
            moments=tuple(moment for moment in self.moments if moment.source_id in source_ids),
            labelled=tuple(item for item in self.labelled if item.source_id in source_ids),
        )

    def of_split(self, split: str) -> "Annotations":
        """The same with the videos of one split only.

        A video that stands in several groups (CrossTask's tasks) keeps its segments of the groups it is in here.
        """
        videos = tuple(video for video in self.videos if video.split == split)
        kept = self.only({video.source_id for video in videos})
        groups = {(video.source_id, video.group) for video in videos}
        segments = (item for item in kept.segments if not item.group or (item.source_id, item.group) in groups)
        return replace(kept, videos=videos, segments=tuple(segments))


def merged(name: str, parts: Sequence[Annotations]) -> Annotations:
    """One set of several files, such as those of its splits.

    Args:
        name: of the whole.
        parts: at least one; they share their classes, of which a part may know only the first.

    Raises:
        ConfigError: a video stands in two of them.
    """
    owner: dict[str, int] = {}
    for number, part in enumerate(parts):
        for video in part.videos:
            if (first := owner.setdefault(video.source_id, number)) != number:
                raise ConfigError(
                    f"{name}: the video {video.source_id!r} is in {parts[first].name} and in {part.name}, "
                    "expected in one; name files of one publication"
                )
    listed = ("videos", "captions", "segments", "questions", "moments", "labelled", "tasks", "remarks")
    joined = {kind: tuple(item for part in parts for item in getattr(part, kind)) for kind in listed}
    shared = {kind: max((getattr(part, kind) for part in parts), key=len) for kind in ("classes", "steps")}
    return Annotations(name=name, **joined, **shared)


def paragraphs(captions: Collection[Caption]) -> Mapping[str, str]:
    """All captions of each video joined by a space, in the order of the file: whole-paragraph retrieval's queries."""
    texts: dict[str, list[str]] = {}
    for caption in captions:
        texts.setdefault(caption.source_id, []).append(caption.text)
    return {source_id: " ".join(found) for source_id, found in texts.items()}


def by_class(annotations: Annotations) -> Mapping[int, tuple[str, ...]]:
    """The source ids of each class, in the order of the file: what few-shot episodes are drawn from."""
    found: dict[int, list[str]] = {label.index: [] for label in annotations.classes}
    for item in annotations.labelled:
        found[item.label_index].append(item.source_id)
    return {index: tuple(source_ids) for index, source_ids in found.items()}
