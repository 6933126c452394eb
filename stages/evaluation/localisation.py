"""From frozen rows of annotated videos to ranked proposals: classifier, class scores, equal steps, proposal network.

Rows are read when they are needed, and not kept: those of a large data set do not fit into memory.
Letters: N intact rows of a video, D their width, C classes, T steps, G annotated actions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from models.actions.bmn import Bmn, BmnSize, random_bmn
from models.actions.tsn import ConsensusHead
from stages.datasets.records import Annotations, Segment
from stages.evaluation.features import FeatureSource
from stages.evaluation.fitting.proposals import SequenceItem, fit_proposals
from stages.evaluation.fitting.segments import RowItem, fit_head
from stages.evaluation.fitting.workspace import Workspace
from stages.evaluation.frame_protocol_configs import LocalisationConfig
from stages.evaluation.frame_rows import resampled
from stages.evaluation.proposals import Proposals, SoftNms, candidate_pairs, soft_nms
from stages.evaluation.records import F32, F64, I64
from stages.training.checkpoints import StepRecord
from stages.training.loop import fixed_arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedVideo:
    """One video with its actions.

    Attributes:
        source_id: which.
        intact: (N,) int64 numbers of its intact rows.
        spans: (N, 2) float64 seconds of these.
        duration_s: until the end of its last row, intact or not.
        actions: (G, 2) float64 seconds, as annotated.
        labels: (G,) int64 in [0, C).
    """

    source_id: str
    intact: I64 = field(repr=False)
    spans: F64 = field(repr=False)
    duration_s: float
    actions: F64
    labels: I64

    @property
    def shares(self) -> F64:
        """The actions that lie in the video, as shares of it: (g, 2) float64."""
        shares = np.clip(self.actions / self.duration_s, 0.0, 1.0)
        return np.asarray(shares[shares[:, 0] < shares[:, 1]])

    def rows_inside(self, span: F64) -> I64:
        """Places in `intact` whose middle lies in a span, or the nearest one: (n,) int64, n at least 1."""
        middles = self.spans.mean(axis=1)
        inside = np.flatnonzero((middles >= span[0]) & (middles < span[1]))
        return inside if inside.size else np.array([np.abs(middles - span.mean()).argmin()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Localised:
    """What is proposed of one video.

    Attributes:
        proposals: spans in seconds, best first.
        by_class: those that have a class, by class.
        whole_by_class: likewise, where the whole video is all that is proposed.
    """

    proposals: Proposals
    by_class: dict[int, Proposals]
    whole_by_class: dict[int, Proposals]


def annotated_videos(annotations: Annotations, source: FeatureSource) -> list[AnnotatedVideo]:
    """The videos that have an action."""
    segments: dict[str, list[Segment]] = {}
    for segment in annotations.segments:
        segments.setdefault(segment.source_id, []).append(segment)
    videos = []
    for source_id, found in segments.items():
        rows = source.rows(source_id)
        intact = np.flatnonzero(~rows.damaged)
        videos.append(
            AnnotatedVideo(
                source_id=source_id,
                intact=intact,
                spans=rows.spans[intact],
                duration_s=float(rows.spans[-1, 1]),
                actions=np.array([[segment.start_s, segment.end_s] for segment in found]),
                labels=np.array([segment.label_index for segment in found]),
            )
        )
    return videos


def whole_video(video: AnnotatedVideo) -> Proposals:
    """The baseline's one proposal."""
    return Proposals(spans=np.array([[0.0, video.duration_s]]), scores=np.ones(1))


def fit_classifier(
    videos: Sequence[AnnotatedVideo],
    source: FeatureSource,
    num_classes: int,
    config: LocalisationConfig,
    workspace: Workspace,
) -> tuple[ConsensusHead, list[StepRecord]]:
    """Fit a segment network's head to the rows inside of actions, and say how it went."""
    items = {}
    for video in videos:
        for number, (action, label) in enumerate(zip(video.actions, video.labels.tolist(), strict=True)):
            rows = video.intact[video.rows_inside(action)]
            items[f"{video.source_id}/{number}"] = _item(source, video.source_id, rows, label)
    first = videos[0]
    dim = source.rows_at(first.source_id, first.intact[:1]).shape[1]
    head = ConsensusHead(
        dim, num_classes, dropout=config.dropout, init_std=config.init_std, seed=config.classifier.seed
    )
    return head, fit_head(head, items, config.num_segments, config.classifier, workspace)


def fit_network(
    videos: Sequence[AnnotatedVideo],
    source: FeatureSource,
    head: ConsensusHead,
    config: LocalisationConfig,
    workspace: Workspace,
) -> tuple[Bmn, list[StepRecord]]:
    """Fit the proposal network to class scores on equal steps, and say how it went."""
    items = {}
    with fixed_arithmetic(config.classifier.threads):
        for video in videos:
            steps = _steps(video, class_probabilities(head, video, source), config)
            items[video.source_id] = SequenceItem(steps=steps, actions=video.shares)
    size = BmnSize(feature_dim=head.classify.out_features, num_steps=config.num_steps, **config.sizes.model_dump())
    network = random_bmn(size, config.proposals.seed)
    return network, fit_proposals(network, items, config.proposals, workspace)


def class_probabilities(head: ConsensusHead, video: AnnotatedVideo, source: FeatureSource) -> F32:
    """What the classifier says of each intact row: (N, C) float32, a row adds up to 1."""
    with torch.inference_mode():
        rows = torch.from_numpy(source.rows_at(video.source_id, video.intact))
        found: F32 = head(rows[:, None]).softmax(dim=1).numpy()
    return found


def localise(video: AnnotatedVideo, probabilities: F32, network: Bmn, config: LocalisationConfig) -> Localised:
    """Rank spans of a video and name what they show.

    Args:
        video: which.
        probabilities: (N, C) float32 of its rows.
        network: fitted, on the CPU.
        config: of the ranking.
    """
    nms = SoftNms(alpha=config.nms_alpha, low=config.nms_low, high=config.nms_high)
    with torch.inference_mode():
        steps = torch.from_numpy(_steps(video, probabilities, config).T[None].copy())
        starts, ends, confidence, overlap = (part[0].sigmoid().double().numpy() for part in network(steps))
    ranked = soft_nms(*candidate_pairs(starts, ends, confidence * overlap), nms)
    proposals = Proposals(spans=ranked.spans * video.duration_s, scores=ranked.scores)
    by_class, whole_by_class = (
        classified(found, video, probabilities, config.classes_per_proposal)
        for found in (proposals, whole_video(video))
    )
    return Localised(proposals=proposals, by_class=by_class, whole_by_class=whole_by_class)


def classified(proposals: Proposals, video: AnnotatedVideo, probabilities: F32, num_kept: int) -> dict[int, Proposals]:
    """Give each proposal its best classes, by the mean of what the classifier says of the rows inside of it.

    Args:
        proposals: of the video.
        video: whose.
        probabilities: (N, C) float32 of its rows.
        num_kept: classes of a proposal.

    Returns:
        By class, the proposals that have it, best first; their scores are those of proposal and class multiplied.
    """
    spans, scores = proposals.spans, proposals.scores
    inside = [video.rows_inside(span) for span in spans]
    means = np.stack([probabilities[rows].mean(axis=0, dtype=np.float64) for rows in inside])
    kept = np.argsort(-means, axis=1, kind="stable")[:, :num_kept]
    found = {}
    for label in np.unique(kept).tolist():
        places = np.flatnonzero((kept == label).any(axis=1))
        combined = scores[places] * means[places, label]
        order = np.argsort(-combined, kind="stable")
        found[label] = Proposals(spans=spans[places][order], scores=combined[order])
    return found


def _item(source: FeatureSource, source_id: str, rows: I64, label: int) -> RowItem:
    return RowItem(num_rows=len(rows), read=lambda places: source.rows_at(source_id, rows[places]), label=label)


def _steps(video: AnnotatedVideo, probabilities: F32, config: LocalisationConfig) -> F32:
    return resampled(probabilities, video.spans, video.duration_s, config.num_steps)
