import pytest

from stages.text.timestamps import TimingProblem, parse_range, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01.234", 1.234),
        ("00:01,5", 1.5),
        ("1:02:03.004", 3723.004),
        ("100:00:00.000", 360000.0),
        ("0:05", 5.0),
        ("00:60.000", None),
        ("60:00.000", None),
        ("1.5", None),
        ("00:00:01.234s", None),
    ],
)
def test_parse_time(text: str, seconds: float | None) -> None:
    assert parse_time(text) == seconds


def test_settings_after_the_second_time_are_ignored() -> None:
    assert parse_range("  00:01.000-->00:02.000\talign:start position:0%") == (1.0, 2.0)


@pytest.mark.parametrize(
    "line", ["00:02.000 --> 00:01.000", "00:02.000 --> 00:02.000", "00:02.000 --> ", "--> 00:02.000", "a"]
)
def test_what_is_no_interval(line: str) -> None:
    problem = parse_range(line)
    assert isinstance(problem, TimingProblem)
    assert repr(line.strip()) in problem.got
