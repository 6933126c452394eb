"""A decoder's last words, made the same on every machine."""

from stages.media.causes import MAX_WORDS, decode_error, normalise_words


def test_addresses_paths_and_repeats_go():
    text = "[h264 @ 0x55d0c8] error while decoding MB 3 4\n[h264 @ 0x55d0c9] error while decoding MB 3 4\n"
    text += "cannot open '/home/some one/a b.mp4'\nread of file:/tmp/x.mp4: failed\n\n"
    expected = "[h264] error while decoding MB 3 4 | cannot open <path> | read of <path>: failed"
    assert normalise_words(text) == expected


def test_long_words_keep_their_end():
    words = normalise_words("a" * 1000 + " end")
    assert words.startswith("...")
    assert words.endswith(" end")
    assert len(words) == MAX_WORDS + 3


def test_ratios_and_options_are_no_paths():
    assert normalise_words("got 1/25, expected and/or 3") == "got 1/25, expected and/or 3"


def test_cause_is_the_errors_own():
    assert decode_error("empty_file", "x").cause == "empty_file"
    assert decode_error("not_media", "x").cause == "not_media"
