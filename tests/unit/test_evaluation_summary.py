"""What a command prints of an evaluation."""

from stages.evaluation.own_set import measure
from stages.evaluation.results import metrics_document
from stages.evaluation.scoring import ProtocolSettings
from stages.evaluation.seeds import PooledScore
from stages.evaluation.summary import pooled_lines, summary_lines
from tests.evaluation_samples import make_set

SETTINGS = ProtocolSettings()


def lines_of(**fields: object) -> list[str]:
    evaluation = make_set(**fields)
    return summary_lines(metrics_document(evaluation.subject, measure(evaluation, SETTINGS), SETTINGS))


def test_every_number_has_its_interval_and_chance() -> None:
    lines = lines_of(noise=0.0, num_pairs=20)
    assert lines[0] == "The run's own narrations, split test: 40 videos; encoder: dual encoder, 24 dimensions"
    start = lines.index("Paragraph → video, DTW (40 queries against 40)")
    assert lines[start + 1] == "  R@1               100.0 %   95%  100.0 % to  100.0 %   chance    2.5 %"
    assert [line.split()[0] for line in lines[start + 1 : start + 5]] == ["R@1", "R@5", "R@10", "median"]
    assert lines[start + 4] == "  median rank           1.0   95%      1.0 to      1.0   chance     20.5"
    assert not any("MRR" in line for line in lines)


def test_says_random_weights_seen_videos_and_why_there_is_no_number() -> None:
    lines = lines_of(num_pairs=0, random_weights=True, trained_on=("a",))
    assert lines[0].endswith("24 dimensions, random weights")
    assert sum("not evaluated: the split 'test'" in line for line in lines) == 9
    assert lines[-1] == "1 of these videos were trained on: the numbers are too good"


def test_pooled_seeds() -> None:
    shown = {"value": 0.8, "low": 0.7, "high": 0.9, "per_seed": (0.75, 0.85), "num_units": 20}
    pooled = [PooledScore(protocol="order_pairs.dtw", name=name, **shown) for name in ("accuracy", "MRR")]
    (line,) = pooled_lines(pooled, 0.95)
    assert " ".join(line.split()) == "order_pairs.dtw accuracy 80.0 % 95% 70.0 % to 90.0 % seeds: 75.0 %, 85.0 %"
