"""Small evaluation sets whose right answers are known: scenes show steps, sentences name them, noise is a setting."""

import numpy as np

from stages.evaluation.records import EncoderFacts, EvaluatedVideo, EvaluationSet

DIM, NUM_STEPS, WINDOWS_PER_SCENE, WINDOW_S = 24, 36, 3, 4.0


def make_video(video_id, steps, rng, *, noise=0.3, narrated=True, directions=None):
    """One scene a step, three windows a scene, one sentence a scene; two paragraphs from six scenes on."""
    directions = np.eye(NUM_STEPS, DIM) if directions is None else directions
    shown = np.repeat(directions[list(steps)], WINDOWS_PER_SCENE, axis=0)
    num_windows, num_texts = len(shown), len(steps) if narrated else 0
    starts = np.arange(num_windows) * WINDOW_S
    scene_s = WINDOWS_PER_SCENE * WINDOW_S
    said = np.arange(num_texts) * scene_s
    return EvaluatedVideo(
        video_id=video_id,
        window_ids=tuple(f"{video_id}/w{i:05d}" for i in range(num_windows)),
        window_spans=np.stack([starts, starts + WINDOW_S], axis=1),
        windows=(shown + noise * rng.standard_normal(shown.shape)).astype(np.float32),
        narration_ids=tuple(f"{video_id}/n{i:04d}" for i in range(num_texts)),
        narration_spans=np.stack([said, said + scene_s], axis=1),
        narrations=(
            directions[list(steps)][:num_texts] + noise * rng.standard_normal((num_texts, directions.shape[1]))
        ).astype(np.float32),
        texts=tuple(f"now step {step} is done" for step in steps)[:num_texts],
        paragraph_index=np.arange(num_texts) // 6,
    )


def make_set(*, num_pairs=4, num_scenes=5, noise=0.3, seed=0, random_weights=False, **fields):
    """Twice `num_pairs` videos; the two of a pair show the same steps in opposite orders."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((NUM_STEPS, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    videos, pairs = [], {}
    for number in range(num_pairs):
        steps = rng.permutation(NUM_STEPS)[:num_scenes]
        names = f"video{number:03d}a", f"video{number:03d}b"
        for name, order in zip(names, (steps, steps[::-1]), strict=True):
            videos.append(make_video(name, order, rng, noise=noise / np.sqrt(DIM), directions=directions))
        pairs[f"pair{number:03d}"] = names
    encoder = EncoderFacts(
        description="dual encoder, 24 dimensions",
        random_weights=random_weights,
        features="s3d preset demo, weights random:seed=0",
        normalised=False,
    )
    known = {"split": "test", "split_source": "splits.csv", "encoder": encoder, "pairs": pairs}
    return EvaluationSet(videos=tuple(videos), **{**known, **fields})
