"""From frozen rows of annotated videos to ranked proposals: classifier, class scores, equal steps, proposal network.

Letters: N rows of a video, D their width, C classes, T steps, G annotated actions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from models.actions.bmn import Bmn, BmnSize, random_bmn
from models.actions.tsn import ConsensusHead
from stages.datasets.records import Annotations
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
        rows: (N, D) float32, the intact ones.
        spans: (N, 2) float64 seconds.
        duration_s: until the end of its last row, intact or not.
        actions: (G, 2) float64 seconds, as annotated.
        labels: (G,) int64 in [0, C).
    """

    source_id: str
    rows: F32 = field(repr=False)
    spans: F64 = field(repr=False)
    duration_s: float
    actions: F64
    labels: I64

    @property
    def shares(self) -> F64:
        """The actions that lie in the video, as shares of it: (g, 2) float64."""
        shares = np.clip(self.actions / self.duration_s, 0.0, 1.0)
        return np.asarray(shares[shares[:, 0] < shares[:, 1]])


def annotated_videos(annotations: Annotations, source: FeatureSource) -> list[AnnotatedVideo]:
    """Read the videos that have an action."""
    videos = []
    for video in annotations.videos:
        found = [segment for segment in annotations.segments if segment.source_id == video.source_id]
        if not found:
            continue
        rows = source.rows(video.source_id)
        videos.append(
            AnnotatedVideo(
                source_id=video.source_id,
                rows=rows.features[~rows.damaged],
                spans=rows.spans[~rows.damaged],
                duration_s=float(rows.spans[-1, 1]),
                actions=np.array([[segment.start_s, segment.end_s] for segment in found]),
                labels=np.array([segment.label_index for segment in found]),
            )
        )
    return videos


def fit_classifier(
    videos: Sequence[AnnotatedVideo], num_classes: int, config: LocalisationConfig, workspace: Workspace
) -> tuple[ConsensusHead, list[StepRecord]]:
    """Fit a segment network's head to the rows inside of actions, and say how it went."""
    items: dict[str, RowItem] = {}
    for video in videos:
        for number, (action, label) in enumerate(zip(video.actions, video.labels.tolist(), strict=True)):
            rows = video.rows[rows_inside(video.spans, action)]
            items[f"{video.source_id}/{number}"] = RowItem(rows=rows, label=label)
    head = ConsensusHead(
        videos[0].rows.shape[1], num_classes, dropout=config.dropout, init_std=config.init_std,
        seed=config.classifier.seed,
    )  # fmt: skip
    return head, fit_head(head, items, config.num_segments, config.classifier, workspace)


def rows_inside(spans: F64, action: F64) -> I64:
    """Rows whose middle lies in an action, or the one whose middle is nearest to its own: (n,) int64, n at least 1."""
    middles = spans.mean(axis=1)
    inside = np.flatnonzero((middles >= action[0]) & (middles < action[1]))
    return inside if inside.size else np.array([np.abs(middles - action.mean()).argmin()])


def class_probabilities(head: ConsensusHead, videos: Sequence[AnnotatedVideo], threads: int) -> dict[str, F32]:
    """What the classifier says of each row: (N, C) float32 by video, rows of a video add up to 1."""
    with fixed_arithmetic(threads), torch.inference_mode():
        return {video.source_id: head(torch.from_numpy(video.rows)[:, None]).softmax(dim=1).numpy() for video in videos}


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
    inside = [rows_inside(video.spans, span) for span in spans]
    means = np.stack([probabilities[rows].mean(axis=0, dtype=np.float64) for rows in inside])
    kept = np.argsort(-means, axis=1, kind="stable")[:, :num_kept]
    found = {}
    for label in np.unique(kept).tolist():
        places = np.flatnonzero((kept == label).any(axis=1))
        combined = scores[places] * means[places, label]
        order = np.argsort(-combined, kind="stable")
        found[label] = Proposals(spans=spans[places][order], scores=combined[order])
    return found


def fit_network(
    videos: Sequence[AnnotatedVideo],
    probabilities: Mapping[str, F32],
    config: LocalisationConfig,
    workspace: Workspace,
) -> tuple[Bmn, list[StepRecord]]:
    """Fit the proposal network to class scores on equal steps, and say how it went."""
    items = {
        video.source_id: SequenceItem(steps=_steps(video, probabilities, config), actions=video.shares)
        for video in videos
    }
    num_classes = next(iter(probabilities.values())).shape[1]
    size = BmnSize(feature_dim=num_classes, num_steps=config.num_steps, **config.sizes.model_dump())
    network = random_bmn(size, config.proposals.seed)
    return network, fit_proposals(network, items, config.proposals, workspace)


def propose(
    network: Bmn, videos: Sequence[AnnotatedVideo], probabilities: Mapping[str, F32], config: LocalisationConfig
) -> dict[str, Proposals]:
    """Rank spans of each video, in seconds."""
    nms = SoftNms(alpha=config.nms_alpha, low=config.nms_low, high=config.nms_high)
    found = {}
    with fixed_arithmetic(config.proposals.threads), torch.inference_mode():
        for video in videos:
            steps = torch.from_numpy(_steps(video, probabilities, config).T[None].copy())
            starts, ends, confidence, overlap = (part[0].sigmoid().double().numpy() for part in network(steps))
            ranked = soft_nms(*candidate_pairs(starts, ends, confidence * overlap), nms)
            found[video.source_id] = Proposals(spans=ranked.spans * video.duration_s, scores=ranked.scores)
    return found


def _steps(video: AnnotatedVideo, probabilities: Mapping[str, F32], config: LocalisationConfig) -> F32:
    return resampled(probabilities[video.source_id], video.spans, video.duration_s, config.num_steps)
