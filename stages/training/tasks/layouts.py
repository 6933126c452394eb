"""Which videos make a batch of pairs: drawn from all, or similar ones by the model that is being trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from stages.retrieval.vectors import Vectors
from stages.training.batches import FrameTokens, collate, draw_pairs
from stages.training.dataset import TrainingVideo
from stages.training.layout import EpochLayout, ShuffledLayout
from stages.training.objectives.base import Opening
from stages.training.objectives.text_video import TextVideoSettings
from stages.training.sampling import OverlapSampling
from stages.training.similar import SimilarLayout
from stages.training.tasks.text_video import PairEncoder, TextVideo
from stages.training.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoVectors:
    """Encodes videos, each process of the team a part of them (a `stages.training.similar.VectorsOf`).

    A video's vector is the mean over its pairs of (window + text) / 2, not normalised (papers.md 2.6).

    Attributes:
        encoder: gives the vectors of windows and texts; its mode is put back.
        videos: by id.
        sampling: of the pairs.
        frame: the tokenizer's.
        batch_pairs: pairs encoded at once, whole videos at least.
        team: the processes that train together.
        seed: the run's.
    """

    encoder: PairEncoder
    videos: Mapping[str, TrainingVideo]
    sampling: OverlapSampling
    frame: FrameTokens
    batch_pairs: int
    team: Team
    seed: int

    @torch.no_grad()
    def __call__(self, video_ids: Sequence[str], number: int) -> Vectors:
        """Return float32 (N, E); `number` tells the draws of pairs of several calls apart."""
        own = video_ids[self.team.part.of(len(video_ids))]
        each = max(1, self.batch_pairs // self.sampling.draws_per_video)
        training = self.encoder.training
        self.encoder.eval()
        found = [self._encode(own[first : first + each], number) for first in range(0, len(own), each)]
        self.encoder.train(training)
        none = torch.zeros(0, self.encoder.dim, device=self.encoder.device)
        vectors: Vectors = self.team.gather(torch.cat([none, *found])).cpu().numpy()
        return vectors

    def _encode(self, video_ids: Sequence[str], number: int) -> torch.Tensor:
        videos = [self.videos[video_id] for video_id in video_ids]
        # No batch has a number below 0: these draws are of their own.
        draws = draw_pairs(videos, self.sampling, seed=self.seed, index=-1 - number)
        windows, texts = self.encoder(collate(draws, self.frame).to(self.encoder.device))
        means: torch.Tensor = ((windows + texts) / 2).float().view(len(videos), -1, windows.shape[1]).mean(dim=1)
        return means


def open_layout(settings: TextVideoSettings, built: TextVideo, encoder: PairEncoder, opening: Opening) -> EpochLayout:
    """Return the layout that an objective's settings ask for."""
    shuffled = ShuffledLayout(built.video_ids, settings.batch_videos, multiple=opening.accumulate, seed=opening.seed)
    similar = settings.retrieval
    if similar is None:
        return shuffled
    vectors_of = VideoVectors(
        encoder=encoder,
        videos={video.video_id: video for video in built.videos},
        sampling=settings.sampling.model_copy(
            update={"alignment": "exact", "draws_per_video": similar.draws_per_video}
        ),
        frame=built.checkpoint.tokenizer.framed,
        batch_pairs=similar.batch_pairs,
        team=opening.team,
        seed=opening.seed,
    )
    return SimilarLayout(
        built.video_ids,
        shuffled,
        vectors_of,
        similar,
        batch_videos=settings.batch_videos,
        multiple=opening.accumulate,
        seed=opening.seed,
    )
