from stages.text.clock import coverage_s, fit_to_video
from stages.text.records import Narration


def narration(start_s: float, end_s: float) -> Narration:
    return Narration(start_s=start_s, end_s=end_s, text="a")


def test_what_lies_outside_is_cut_off_and_counted() -> None:
    inside, across, outside = narration(1, 2), narration(9, 12), narration(10, 13)
    fitted = fit_to_video([inside, across, outside], 10.0)
    assert fitted.narrations == (inside, narration(9, 10))
    assert fitted.sources == (inside, across)
    assert (fitted.num_clamped, fitted.num_outside) == (1, 1)


def test_time_that_is_narrated_twice_counts_once() -> None:
    assert coverage_s([narration(0, 4), narration(1, 2), narration(3, 6), narration(8, 9)]) == 7.0
    assert coverage_s([]) == 0.0
