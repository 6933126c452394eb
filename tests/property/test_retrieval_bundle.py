"""However a table is re-ordered, cut or edited, or a byte of a file is flipped: the bundle does not open."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.errors import Corrupt
from stages.retrieval import open_bundle
from tests.retrieval_samples import content_of, write_folder

TABLES = ("clips.parquet", "paragraphs.parquet", "narrations.parquet", "videos.parquet")
FILES = (*TABLES, "clips.faiss", "paragraphs.faiss")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(
        tmp_path_factory.mktemp("whole"), content_of({"a": ["pour", "stir"], "b": ["cut"], "c": ["fry"]})
    )


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TABLES), st.data())
def test_rows_in_another_order_or_number_are_refused(whole: Path, name: str, data: st.DataObject) -> None:
    table = pq.read_table(whole / name)
    rows = data.draw(st.lists(st.integers(0, table.num_rows - 1), min_size=0, max_size=table.num_rows + 1))
    assume(rows != list(range(table.num_rows)))
    with TemporaryDirectory() as folder:
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        pq.write_table(table.take(pa.array(rows, pa.int64())), Path(folder, name))
        with pytest.raises(Corrupt):
            open_bundle(Path(folder))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FILES), st.data())
def test_a_flipped_bit_is_refused(whole: Path, name: str, data: st.DataObject) -> None:
    content = bytearray((whole / name).read_bytes())
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    content[place] ^= 1 << bit
    with TemporaryDirectory() as folder:
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        Path(folder, name).write_bytes(content)
        with pytest.raises(Corrupt):
            open_bundle(Path(folder))
