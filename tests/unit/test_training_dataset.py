"""What training reads: offsets in tars, and the join with narrations."""

import numpy as np
import pytest

from stages.artifacts.sealed import Artifact
from stages.errors import Corrupt
from stages.training.dataset import NarrationsByVideo, TimedText, feature_entries, join_videos, tokenise
from stages.training.sampling import OverlapSampling
from tests.training_samples import STEPS, make_features, make_inputs, make_paragraphs, rows_of

PUBLISHED = OverlapSampling()


def words(texts):
    return [[len(word) for word in text.split()] for text in texts]


def test_rows_are_mapped_at_their_place_in_the_tars(tmp_path):
    inputs = make_inputs(tmp_path, 10, per_unit=4, damaged={"v05": [1]})
    entries = feature_entries(inputs["features.s3d"], "s3d")
    assert sorted(entries) == [f"v{i:02d}" for i in range(10)]
    assert len({entry.path for entry in entries.values()}) == 3
    for i in (9, 0, 5):
        rows = entries[f"v{i:02d}"].map_features()
        assert isinstance(rows, np.memmap)
        np.testing.assert_array_equal(rows, rows_of(i)[0])
    assert entries["v05"].read_damaged().tolist() == [False, True] + [False] * 7
    np.testing.assert_array_equal(entries["v05"].read_spans()[2], [4.0, 6.0])


def test_an_artifact_of_another_backbone_is_refused(tmp_path):
    features: Artifact = make_inputs(tmp_path, 2)["features.s3d"]
    with pytest.raises(Corrupt, match=r"video v00 lacks \['clip.npy'\]"):
        feature_entries(features, "clip")


def test_videos_are_joined_by_id_and_those_that_say_or_show_nothing_are_left_out(tmp_path):
    inputs = make_inputs(tmp_path, 4, silent=("v01",), damaged={"v02": list(range(9)), "v03": [0, 1, 2]})
    videos = join_videos(
        feature_entries(inputs["features.s3d"], "s3d"), NarrationsByVideo(inputs["paragraphs"]), words, PUBLISHED
    )
    assert [video.video_id for video in videos] == ["v00", "v03"]
    assert videos[0].usable.tolist() == [0, 1, 2]
    assert videos[1].usable.tolist() == [0, 1, 2]  # the first ends at 5.0 s and is drawn up to row 3, as published
    assert len(videos[0].captions) == 3


def test_narrations_are_cut_as_published_and_empty_ones_are_dropped():
    said = [
        TimedText(start_s=0.0, end_s=1.0, text="a" * 95 + " bc"),
        TimedText(start_s=1.0, end_s=2.0, text=""),
        TimedText(start_s=2.0, end_s=3.0, text="x " * 48),
    ]
    captions = tokenise(said, words, PUBLISHED)
    assert captions.start_s.tolist() == [0.0, 2.0]
    assert captions.between(0, 0).tolist() == [95]
    assert captions.between(1, 1).tolist() == [1] * 32
    assert captions.narrations.tolist() == [0, 2]


def test_narrations_come_by_video_in_the_order_of_time(tmp_path):
    inputs = make_inputs(tmp_path, 3)
    narrations = NarrationsByVideo(make_paragraphs(inputs.store, 3))
    assert sorted(narrations) == ["v00", "v01", "v02"]
    for i in range(3):
        rows = narrations[f"v{i:02d}"]
        assert [row.text for row in rows] == [STEPS[step] for step in rows_of(i)[1]]
        assert [row.start_s for row in rows] == [0.5, 6.5, 12.5]


def test_features_without_units_have_no_entries(tmp_path):
    inputs = make_inputs(tmp_path, 1)
    assert feature_entries(make_features(inputs.store, 0), "s3d") == {}
