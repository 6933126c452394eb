"""The typed results and their JSON are fixed: CLI, HTTP API and page share them."""

import json
from dataclasses import FrozenInstanceError

import pytest

from stages.retrieval.results import Answer, Hit, ParagraphHit, SentenceSpan

HIT = Hit(video_id="v", path="a/v.mp4", start_s=1.0, end_s=2.5, score=0.5, text="stir it")
SPAN = SentenceSpan(text="stir it", start_s=1.0, end_s=2.5, score=0.5, found=True)


def test_a_moment_s_json() -> None:
    answer = Answer(encoder="e", random_weights=True, features="f", query="stir", hits=(HIT,))
    assert json.loads(json.dumps(answer.to_json())) == {
        "encoder": "e",
        "random_weights": True,
        "features": "f",
        "query": "stir",
        "hits": [{"video_id": "v", "path": "a/v.mp4", "start_s": 1.0, "end_s": 2.5, "score": 0.5, "text": "stir it"}],
    }


def test_a_paragraph_s_json() -> None:
    hit = ParagraphHit(video_id="v", path="a/v.mp4", score=-0.25, sentences=(SPAN,))
    assert Answer(encoder="e", random_weights=False, features="f", query="stir", hits=(hit,)).to_json()["hits"] == [
        {
            "video_id": "v",
            "path": "a/v.mp4",
            "score": -0.25,
            "sentences": [{"text": "stir it", "start_s": 1.0, "end_s": 2.5, "score": 0.5, "found": True}],
        }
    ]
    assert SPAN.to_json()["found"] is True


def test_results_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        HIT.score = 1.0  # type: ignore[misc]
