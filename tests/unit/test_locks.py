"""One at a time in a folder, though whoever leaves it deletes it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.locks import alone_in

NUM_WORKERS, NUM_TURNS = 4, 200


def test_one_at_a_time_in_a_folder_that_each_deletes(tmp_path: Path) -> None:
    folder, inside = tmp_path / "scratch" / "unit", []

    def work(name: int) -> int:
        for _ in range(NUM_TURNS):
            with alone_in([folder]):
                inside.append(name)
                assert inside == [name]
                inside.remove(name)
                shutil.rmtree(folder, ignore_errors=True)  # from here on it is another's
        return NUM_TURNS

    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        assert list(pool.map(work, range(NUM_WORKERS))) == [NUM_TURNS] * NUM_WORKERS


def test_a_file_in_the_folder_s_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "unit").write_text("x")
    with pytest.raises(FileExistsError, match="unit"), alone_in([tmp_path / "unit"]):
        pass
