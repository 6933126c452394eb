"""Which frames are doubtful, from the order of packets alone."""

import random

import pytest

from stages.media.damage import DamageTracker, HoleWatch, Step

Stream = list[tuple[int, str]]
"""Packets in the order of decoding: when each is shown, and whether it is a keyframe (K), P, or lost before (prefix !)
or failing (suffix x)."""


def judge(stream: Stream) -> dict[int, tuple[bool, bool]]:
    """Corrupt and after-loss of each frame; it comes out as soon as nothing is to come that is shown before it."""
    tracker, waiting, found = DamageTracker(), dict[int, tuple[Step, str]](), dict[int, tuple[bool, bool]]()
    for number, (shown, kind) in enumerate(stream):
        step = Step(number)
        tracker.begin(step, lost_before=kind.startswith("!"))
        if kind.endswith("x"):
            tracker.fail(step)
        waiting[shown] = (step, kind)
        still_to_come = min((later for later, _ in stream[number + 1 :]), default=shown + 1000)
        for ready in sorted(time for time in waiting if time < still_to_come):
            made_of, what = waiting.pop(ready)
            verdict = tracker.frame(made_of, keyframe="K" in what, flagged=False)
            found[ready] = (verdict.corrupt, verdict.after_loss)
    return found


def corrupt(stream: Stream) -> list[int]:
    return [shown for shown, (bad, _) in judge(stream).items() if bad]


def test_an_intact_stream_has_no_doubt() -> None:
    assert set(judge([(0, "K"), (2, "P"), (1, "P"), (3, "K")]).values()) == {(False, False)}


def test_an_error_lasts_until_the_next_clean_keyframe() -> None:
    assert corrupt([(0, "K"), (1, "Px"), (2, "P"), (3, "K"), (4, "P")]) == [1, 2]
    assert corrupt([(0, "K"), (1, "Px"), (2, "P"), (3, "Kx"), (4, "P"), (5, "K")]) == [1, 2, 3, 4]


def test_a_loss_makes_what_follows_doubtful_and_the_gap_before_it() -> None:
    found = judge([(0, "K"), (1, "P"), (5, "!P"), (6, "P"), (7, "K"), (8, "P")])
    assert [shown for shown, (bad, _) in found.items() if bad] == [5, 6]
    assert [shown for shown, (_, behind) in found.items() if behind] == [5, 6, 7]


def test_a_keyframe_behind_a_loss_is_clean_and_the_gap_is_known() -> None:
    found = judge([(0, "K"), (1, "P"), (9, "!K"), (10, "P")])
    assert found[9] == (False, True)
    assert found[10] == (False, False)


def test_frames_decoded_before_an_error_stay_clean_though_they_are_shown_after_it() -> None:
    # 4 is decoded first, then fails 1: 2 and 3 are decoded after it.
    assert corrupt([(0, "K"), (4, "P"), (1, "Px"), (2, "P"), (3, "P")]) == [1, 2, 3]


def test_leading_pictures_of_an_open_group_stay_doubtful() -> None:
    # The keyframe 6 is decoded before 4 and 5, which are shown before it and may be predicted from 3.
    assert corrupt([(0, "K"), (3, "Px"), (6, "K"), (4, "P"), (5, "P"), (7, "P")]) == [3, 4, 5]


def test_a_flag_of_the_decoder_counts_like_an_error() -> None:
    tracker = DamageTracker()
    first, second, third = map(Step, range(3))
    assert not tracker.frame(first, keyframe=True, flagged=False).corrupt
    assert tracker.frame(second, keyframe=True, flagged=True).corrupt
    assert tracker.frame(third, keyframe=False, flagged=False).corrupt
    assert tracker.num_errors == 1


@pytest.mark.parametrize("seed", range(20))
def test_as_a_plain_reading_of_the_rule_has_it(seed: int) -> None:
    """No reordering: a frame is doubtful if any packet since the last clean keyframe, or itself, went wrong."""
    rng = random.Random(seed)
    kinds = [rng.choice(["", "!"]) * (rng.random() < 0.3) + rng.choice("PPPK") + "x" * (rng.random() < 0.2)
             for _ in range(60)]  # fmt: skip
    expected, doubt = [], False
    for shown, kind in enumerate(kinds):
        doubt = doubt or kind.startswith("!")
        if "K" in kind and not kind.endswith("x"):
            doubt = False
        doubt = doubt or kind.endswith("x")
        if doubt:
            expected.append(shown)
    assert corrupt(list(enumerate(kinds))) == expected


def test_holes_between_packets_are_seen() -> None:
    watch = HoleWatch()
    assert [watch.passes(*place) for place in ((5000, 100), (5107, 50), (5157, 10), (9000, 10), (9033, 5))] == [
        False, False, False, True, False,
    ]  # fmt: skip
    assert not watch.passes(9000, 4), "laced frames share a position"
