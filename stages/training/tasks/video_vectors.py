"""One vector a video by the model that is being trained: what similar videos are found by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from stages.retrieval.vectors import Vectors
from stages.training.batches import FrameTokens, collate, draw_pairs
from stages.training.dataset import TrainingVideo
from stages.training.sampling import OverlapSampling
from stages.training.tasks.text_video import ScaledEncoder
from stages.training.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoVectors:
    """Encodes videos, each process of the team a part of them (a `stages.training.similar.VectorsOf`).

    A video's vector is the mean over its pairs of (window + text) / 2, not normalised (papers.md 2.6).

    Attributes:
        scaled: the encoder; its mode is put back.
        videos: by id.
        sampling: of the pairs.
        frame: the tokenizer's.
        batch_pairs: pairs encoded at once, whole videos at least.
        team: the processes that train together.
        seed: the run's.
    """

    scaled: ScaledEncoder
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
        training = self.scaled.training
        self.scaled.eval()
        found = [self._encode(own[first : first + each], number) for first in range(0, len(own), each)]
        self.scaled.train(training)
        width = self.scaled.encoder.config.hidden_size
        device = self.scaled.scale.mean.device
        vectors: Vectors = self.team.gather(torch.cat([torch.zeros(0, width, device=device), *found])).cpu().numpy()
        return vectors

    def _encode(self, video_ids: Sequence[str], number: int) -> torch.Tensor:
        videos = [self.videos[video_id] for video_id in video_ids]
        # No batch has a number below 0: these draws are of their own.
        draws = draw_pairs(videos, self.sampling, seed=self.seed, index=-1 - number)
        windows, texts = self.scaled(collate(draws, self.frame).to(self.scaled.scale.mean.device))
        means: torch.Tensor = ((windows + texts) / 2).float().view(len(videos), -1, windows.shape[1]).mean(dim=1)
        return means
