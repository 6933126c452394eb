import pytest

from stages.text.markup import payload_words


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("<c>a</c><c.x> b</c>", "a b"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ("x<y", "x<y"),
        ("<v Ann\nSmith>hi", "hi"),
        ("a\u200bb \ufeffc", "ab c"),
        ("cafe\u0301", "caf\u00e9"),
        ("[door opens slowly]. then", "then"),
        ("[a b c d e f g h i] j", "[a b c d e f g h i] j"),
        (">> >>> go", "go"),
        ("5 > 2", "5 > 2"),
        ("- Yes.\n– No - never.", "Yes. No - never."),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u2067שלום\u2069", "שלום"),
        ("先切洋葱。然后！」加盐", "先切洋葱。 然后！」 加盐"),
        ("♪♪", ""),
        ("", ""),
    ],
)
def test_plain_words(payload: str, text: str) -> None:
    assert " ".join(word.text for word in payload_words(payload, 0.0, 1.0)) == text


def test_a_word_after_a_dropped_one_starts_the_line() -> None:
    words = payload_words("[Music] one two\n>> three", 0.0, 1.0)
    assert [word.starts_line for word in words] == [True, False, True]


def test_a_time_before_white_space_belongs_to_the_next_word() -> None:
    words = payload_words("a<00:00:00.500> <c>b</c>", 0.0, 1.0)
    assert [(word.start_s, word.stamped) for word in words] == [(0.0, True), (0.5, True)]


def test_a_tag_that_is_no_time_is_dropped() -> None:
    words = payload_words("a<99:99:99> b", 0.0, 1.0)
    assert [(word.text, word.stamped) for word in words] == [("a", False), ("b", False)]


def test_readings_that_never_end_are_text() -> None:
    # Each of them was once looked for to the end of the text, which took minutes.
    assert [word.text for word in payload_words("a<rt>b<rt>c</rt>d" + "<rt>" * 50_000, 0.0, 1.0)] == ["abd"]
