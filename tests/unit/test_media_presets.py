"""Presets hold what the networks can take."""

import pytest

from stages.media.presets import CLIP_PRESETS


@pytest.mark.parametrize("preset", CLIP_PRESETS.values(), ids=list(CLIP_PRESETS))
def test_presets_fit_the_network(preset):
    assert preset.frames_per_clip % 2 == 0
    assert preset.crop % 2 == 0
    assert preset.crop <= preset.short_side


def test_videoclip_is_one_row_a_second():
    preset = CLIP_PRESETS["videoclip"]
    assert (preset.clip_s, preset.stride_s, preset.crop, preset.l2_normalise) == (1.0, 1.0, 224, True)
