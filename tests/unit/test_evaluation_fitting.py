"""Fits inside of evaluate: places of segments, schedules, resuming after a kill, and what reaches the network."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.actions.tsn import ConsensusHead
from stages.evaluation.fitting.fit import ItemSource
from stages.evaluation.fitting.segments import RowItem, drawn_places, fit_head, middle_places
from stages.evaluation.fitting.settings import FitSettings
from stages.evaluation.fitting.workspace import Workspace
from stages.training.optimisation import learning_rate_at
from stages.training.team import Part

SETTINGS = FitSettings(epochs=6, batch_size=4, learning_rate=0.1, drops=(3, 5), checkpoint_every=4)


def items(num_classes: int = 3, per_class: int = 5, dim: int = 8) -> dict[str, RowItem]:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((num_classes, dim))
    found = {}
    for label in range(num_classes):
        for number in range(per_class):
            rows = (directions[label] + 0.3 * rng.standard_normal((int(rng.integers(1, 9)), dim))).astype(np.float32)
            found[f"v{label}x{number}"] = RowItem(num_rows=len(rows), read=rows.__getitem__, label=label)
    return found


def new_head(seed: int = 0) -> ConsensusHead:
    return ConsensusHead(8, 3, dropout=0.3, init_std=0.01, seed=seed)


def state(head: ConsensusHead) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in head.state_dict().values()]


def test_a_place_is_drawn_from_each_part() -> None:
    generator = np.random.default_rng(0)
    drawn = np.stack([drawn_places(20, 4, generator) for _ in range(2000)])
    for segment in range(4):
        counts = Counter(drawn[:, segment].tolist())
        assert set(counts) == set(range(5 * segment, 5 * segment + 5))
        assert min(counts.values()) > 0.75 * max(counts.values())
    few = np.stack([drawn_places(2, 5, generator) for _ in range(300)])
    assert few.min() == 0
    assert few.max() == 1
    assert (np.diff(few, axis=1) >= 0).all()


def test_the_middles_are_tested() -> None:
    assert middle_places(100, 4).tolist() == [12, 37, 62, 87]
    assert middle_places(3, 3).tolist() == [0, 1, 2]
    assert middle_places(2, 5).tolist() == [0, 0, 1, 1, 1]


def test_epochs_become_updates() -> None:
    wanted = SETTINGS.optimisation(10)
    assert (wanted.steps, wanted.drops) == (60, (30, 50))
    rates = [learning_rate_at(step, wanted) for step in range(60)]
    np.testing.assert_allclose(rates, [0.1] * 30 + [0.01] * 20 + [0.001] * 10)


def test_drops_behind_the_last_epoch_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"drops \[3, 6\]: expected some of 1 to 5"):
        FitSettings(epochs=6, batch_size=4, learning_rate=0.1, drops=(3, 6))


def test_each_item_comes_once_an_epoch_and_a_batch_is_no_larger_than_all() -> None:
    names = [f"v{number}" for number in range(7)]
    source = ItemSource(names, 3, lambda index, chosen: tuple(chosen), seed=0)
    assert source.batches_per_epoch == 2
    epochs = []
    for epoch in range(3):
        source.begin_epoch(epoch)
        batches = [source.batch(2 * epoch + number, Part()) for number in range(2)]
        seen = [name for batch in batches for name in batch]
        assert len(set(seen)) == len(seen) == 6
        epochs.append(seen)
    assert epochs[0] != epochs[1]
    few = ItemSource(names[:2], 16, lambda index, chosen: tuple(chosen), seed=0)
    few.begin_epoch(0)
    assert set(few.batch(0, Part())) == {"v0", "v1"}


def test_a_head_learns_what_its_items_show() -> None:
    head, found = new_head(), items()
    history = fit_head(head, found, 3, SETTINGS, Workspace())
    assert len(history) == 6 * 3
    assert history[-1].loss < 0.5 * history[0].loss
    with torch.no_grad():
        chosen = [int(head(torch.from_numpy(item.read(slice(None)))[None]).argmax()) for item in found.values()]
    assert chosen == [item.label for item in found.values()]


def test_a_fit_that_is_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, killed = new_head(), new_head()
    fit_head(whole, items(), 3, SETTINGS, Workspace())

    class Kill(Exception):
        pass

    def die(done: float, text: str) -> None:
        if done > 0.6:
            raise Kill

    with pytest.raises(Kill):
        fit_head(killed, items(), 3, SETTINGS, Workspace(scratch_dir=tmp_path, report=die))
    resumed, told = new_head(seed=5), []
    workspace = Workspace(scratch_dir=tmp_path, report=lambda done, text: told.append(done))
    history = fit_head(resumed, items(), 3, SETTINGS, workspace)
    assert len(told) == 18 - 8  # from the checkpoint of the eighth update
    assert len(history) == 18
    assert all(torch.equal(a, b) for a, b in zip(state(resumed), state(whole), strict=True))


def test_parts_of_a_workspace_share_progress_and_no_folder(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    workspace = Workspace(scratch_dir=tmp_path, report=lambda done, text: told.append((done, text)))
    second = workspace.part("second", 0.5, 0.9)
    second.report(0.25, "loss 1")
    assert told == [(pytest.approx(0.6), "second: loss 1")]
    assert second.scratch_dir == tmp_path / "second"
    assert Workspace().part("x", 0, 1).scratch_dir is None
