"""Fine-tuning: published settings, what decides its numbers, and which frames and parts reach the network."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from models.backbones.resnet import RESNETS, random_resnet
from stages.errors import ConfigError
from stages.evaluation.fine_tuning_config import FineTuningConfig
from stages.evaluation.fitting.frames import FrameItem, drawn_frames, fixed_frames, video_scores
from stages.evaluation.protocols.fine_tuning import open_network
from stages.media.crops import cut, fixed_boxes
from tests.media import picture, read_number

SIZE = (96, 48)


@dataclass
class Numbered:
    """Frames that show their own number, and which of them were read."""

    read: list[int] = field(default_factory=list)

    def read_picture(self, number: int) -> NDArray[np.uint8]:
        self.read.append(number)
        return picture(number, SIZE)


def item(intact: list[int]) -> tuple[FrameItem, Numbered]:
    entry = Numbered()
    return FrameItem(entry=entry, intact=np.array(intact), label=2), entry  # type: ignore[arg-type]


def config(**changes: Any) -> FineTuningConfig:
    given = {
        "name": "fine_tuning",
        "resnet": {"size": "tiny"},
        "num_segments": 3,
        "mirrored": False,
        "train_side": 48,
        "fit": {"epochs": 1, "batch_size": 2, "learning_rate": 0.01},
        "test_frames": 4,
        "test_side": 48,
        "test_short_side": 48,
    }
    return FineTuningConfig.model_validate({**given, **changes})


@pytest.mark.parametrize(
    ("preset", "segments", "rate", "decay", "batch", "epochs", "drops", "frames", "crops"),
    [
        ("ucf101", 3, 0.01, 5e-4, 32, 300, (120, 240), 25, "centre"),
        ("hmdb51", 8, 0.025, 1e-4, 32, 50, (20, 40), 8, "centre"),
        ("ssv2", 8, 0.02, 1e-4, 16, 50, (20, 40), 8, "ten"),
        ("activitynet", 8, 0.01, 1e-4, 8, 50, (20, 40), 25, "three"),
    ],
)
def test_published_settings(
    preset: str, segments: int, rate: float, decay: float, batch: int, epochs: int,
    drops: tuple[int, ...], frames: int, crops: str,
) -> None:  # fmt: skip
    found = FineTuningConfig.model_validate({"name": "fine_tuning", "preset": preset, "resnet": {}})
    assert (found.num_segments, found.test_frames, found.test_crops) == (segments, frames, crops)
    fit = found.fit
    assert (fit.learning_rate, fit.weight_decay, fit.batch_size) == (rate, decay, batch)
    assert (fit.epochs, fit.drops, fit.optimiser, fit.momentum) == (epochs, drops, "sgd", 0.9)


def test_what_is_said_goes_before_a_preset_and_the_result_writes_itself() -> None:
    given = {"name": "fine_tuning", "preset": "ucf101", "resnet": {}, "num_segments": 5, "fit": {"batch_size": 4}}
    found = FineTuningConfig.model_validate(given)
    assert (found.num_segments, found.init_std) == (5, 0.001)
    assert (found.fit.batch_size, found.fit.learning_rate) == (4, 0.01)
    assert FineTuningConfig.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resnet": None}, "got both or none of resnet and clip"),
        ({"clip": "x"}, "got both or none of resnet and clip"),
        ({"test_short_side": 40}, "test_side 48 is above test_short_side 40"),
        ({"preset": "kinetics"}, "preset"),
        ({"fit": {"epochs": 1}}, "learning_rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**changes)


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    for path in (one, other):
        torch.save(random_resnet(RESNETS["tiny"], 1).state_dict(), path)
    other.write_bytes(one.read_bytes())
    first, second = (config(resnet={"size": "tiny", "weights": path}).identity() for path in (one, other))
    assert first == second
    assert str(tmp_path) not in str(first)
    assert config().identity() != first
    assert config().encoder_facts().random_weights
    assert not config(resnet={"size": "tiny", "weights": one}).encoder_facts().random_weights


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    gone = config(resnet={"size": "tiny", "weights": tmp_path / "gone.pth"})
    with pytest.raises(ConfigError, match=r"protocol\.resnet\.weights = .*gone\.pth: there is no such file"):
        gone.check("[[evaluate.benchmarks]] x: protocol.")


def test_a_backbone_that_cannot_be_loaded_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CLIP .*cannot be loaded"):
        open_network(config(resnet=None, clip=str(tmp_path)), 3)


def test_a_train_video_is_one_frame_from_each_part_of_its_intact_ones() -> None:
    intact = [4, 5, 6, 7, 20, 21, 22, 23, 40, 41, 42, 43]
    chosen = set()
    for seed in range(30):
        found, entry = item(intact)
        frames = drawn_frames(found, config(), np.random.default_rng(seed))
        assert frames.shape == (3, 48, 48, 3)
        assert frames.dtype == torch.uint8
        assert [number // 20 for number in entry.read] == [0, 1, 2]
        chosen.update(entry.read)
    assert chosen == set(intact)


def test_all_frames_of_a_video_are_cut_alike() -> None:
    found, _ = item([7])
    for kind in ("random_area", "multi_scale"):
        frames = drawn_frames(found, config(crops=kind, mirrored=True), np.random.default_rng(3))
        assert torch.equal(frames[0], frames[1])


def test_half_of_the_train_videos_are_mirrored_if_they_may_be() -> None:
    found, _ = item([1])
    whole = {"train_side": 48, "crops": "multi_scale"}
    plain = [drawn_frames(found, config(**whole), np.random.default_rng(seed))[0] for seed in range(60)]
    turned = [drawn_frames(found, config(**whole, mirrored=True), np.random.default_rng(seed))[0] for seed in range(60)]
    mirrored = [torch.equal(a.flip(1), b) and not torch.equal(a, b) for a, b in zip(plain, turned, strict=True)]
    assert 15 < sum(mirrored) < 45


def test_a_test_video_is_its_middles_in_fixed_parts() -> None:
    found, entry = item(list(range(40)))
    frames = torch.cat(list(fixed_frames(found, config(test_crops="three"))))
    assert entry.read == [5, 15, 25, 35]
    assert frames.shape == (4 * 3, 48, 48, 3)
    expected = [cut(picture(5, SIZE), box, 48) for box in fixed_boxes(48, 96, "three", 1.0)]
    np.testing.assert_array_equal(frames[:3], np.stack(expected))
    small = torch.cat(list(fixed_frames(found, config(test_frames=1, test_side=32, test_short_side=48))))
    assert small.shape == (1, 32, 32, 3)


def test_numbers_survive_the_way_to_the_network() -> None:
    found, entry = item([9, 80])
    wide = config(test_frames=2)
    (frames,) = fixed_frames(found, wide)
    # The centre square shows the middle six of the twelve bits.
    for number, frame in zip(entry.read, frames.numpy(), strict=True):
        whole = picture(number, SIZE)
        np.testing.assert_array_equal(frame, whole[:, 24:72])
        assert read_number(whole) == number


def test_a_video_s_score_is_the_mean_over_frames_and_parts() -> None:
    settings = config(test_crops="ten", test_side=40)
    network = open_network(settings, 5).eval()
    items = {"a": item(list(range(12)))[0], "b": item([3, 4])[0]}
    scores = video_scores(network, items, settings)
    assert scores.shape == (2, 5)
    for row, found in zip(scores, items.values(), strict=True):
        with torch.no_grad():
            parts = torch.cat(list(fixed_frames(found, settings)))
            each = torch.stack([network(part[None, None])[0] for part in parts])
        np.testing.assert_allclose(row, each.mean(dim=0), rtol=1e-3, atol=1e-4)
