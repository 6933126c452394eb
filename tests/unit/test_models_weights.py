"""Reading weights: pickles that act, damaged files, checksums, names and shapes."""

import collections
import io
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from models.backbones.restricted_pickle import InertObject
from models.backbones.torch_pickle import load_torch_pickle
from models.backbones.weights import (
    check_sha256,
    file_sha256,
    load_s3d,
    load_tensors,
    load_word_list,
    read_weights,
    tensors_of,
)

Save = Callable[[object, Path], None]


def save_zip(value: object, path: Path) -> None:
    torch.save(value, path)


def save_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_pickle_2(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


def save_pickle_4(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=4))


SAVERS = [save_zip, save_legacy, save_pickle_2, save_pickle_4]


class Call:
    """Asks for a call when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def acts(target: Path) -> dict[str, Call]:
    return {
        "system": Call(os.system, f"touch {target}"),
        "popen": Call(subprocess.Popen, ["touch", str(target)]),
        "open": Call(open, str(target), "w"),
        "exec": Call(exec, f"open({str(target)!r}, 'w')"),
        "method": Call(Path.touch, target),
        "copy": Call(shutil.copy, __file__, str(target)),
        "save": Call(torch.save, {}, str(target)),
        "array": Call(np.save, str(target) + ".npy", 1),
        "hub": Call(torch.hub.load, str(target), "model"),
        "bytes": Call(torch.storage._load_from_bytes, b"x"),
    }


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("act", list(acts(Path("x"))))
def test_a_file_that_asks_for_a_call_is_refused_and_does_nothing(act: str, save: Save, tmp_path: Path) -> None:
    target = tmp_path / "written"
    save({"model": {"weight": torch.zeros(2)}, "extra": acts(target)[act]}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=r"file\.pt"):
        load_torch_pickle(tmp_path / "file.pt")
    assert names(tmp_path) == ["file.pt"]


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_the_refusal_names_the_call(save: Save, tmp_path: Path) -> None:
    save({"extra": Call(os.system, "true")}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=rf"call {os.system.__module__}\.system.*nothing was run.*safetensors"):
        load_torch_pickle(tmp_path / "file.pt")


def test_a_class_with_a_state_hook_stays_inert(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"path": Path("/somewhere"), "device": torch.device("cpu"), "counter": collections.Counter("ab")}, path)
    loaded = load_torch_pickle(path)
    assert all(isinstance(value, InertObject) for value in loaded.values())


def legacy_file(body: bytes) -> bytes:
    parts = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    return b"".join(parts) + b"\x80\x02" + body + b"." + pickle.dumps([], protocol=2)


def test_legacy_source_comparison_cannot_be_made_to_write_a_patch(tmp_path: Path) -> None:
    # BUILD sets __name__ and dump_patches of the callable; a persistent id of kind 'module' then compares its source
    # with the file's and would write `<__name__>.patch`.
    name = str(tmp_path / "written").encode()
    attack = (
        b"ctorch._utils\n_rebuild_tensor\nq\x00"
        b"}X\x0c\x00\x00\x00dump_patches\x88s}X\x08\x00\x00\x00__name__X"
        + len(name).to_bytes(4, "little") + name + b"s\x86b0"
        b"(X\x06\x00\x00\x00moduleh\x00X\x01\x00\x00\x00aX\x01\x00\x00\x00btQ"
    )  # fmt: skip
    path = tmp_path / "file.pt"
    path.write_bytes(legacy_file(attack))
    with pytest.raises(ValueError, match="sets attributes of a function"):
        load_torch_pickle(path)
    assert names(tmp_path) == ["file.pt"]


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(path))
    with pytest.raises(ValueError, match="TorchScript"):
        load_torch_pickle(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    save_legacy({"weight": torch.zeros(4)}, path)
    data = path.read_bytes()
    assert data.count(b"K\x00K\x04\x85") == 1
    path.write_bytes(data.replace(b"K\x00K\x04\x85", b"K\x00K\xff\x85"))
    with pytest.raises(ValueError, match="beyond the 16 bytes"):
        load_torch_pickle(path)


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_tensors_of_every_kind_come_back(save: Save, tmp_path: Path) -> None:
    base = torch.arange(24).reshape(4, 6)
    saved = {
        "half": torch.ones(3, dtype=torch.float16), "brain": torch.ones(2, dtype=torch.bfloat16), "view": base[1:, ::2],
        "turned": base.T, "scalar": torch.tensor(5), "empty": torch.zeros(0, 3), "flags": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.ones(2)), "size": torch.Size([1, 2]), "type": torch.float32,
        "ordered": collections.OrderedDict(a=1), "plain": [1, 2.5, "x", None, (True, b"y"), {3}],
    }  # fmt: skip
    save(saved, tmp_path / "file.pt")
    loaded = load_torch_pickle(tmp_path / "file.pt")
    for name, value in saved.items():
        if isinstance(value, torch.Tensor):
            assert loaded[name].dtype == value.dtype
            assert torch.equal(loaded[name], value)
    assert loaded["size"] == torch.Size([1, 2])
    assert loaded["type"] is torch.float32
    assert loaded["ordered"] == {"a": 1}
    assert loaded["plain"][:4] == [1, 2.5, "x", None]


def samples() -> dict[str, bytes]:
    tensors = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.zeros(3)}
    found = {"st.safetensors": safetensors.torch.save(tensors)}
    for name, zipped in (("zip.pt", True), ("legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save({"model": tensors, "note": "x"}, buffer, _use_new_zipfile_serialization=zipped)
        found[name] = buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array(["whisk", "eggs"]))
    return found | {"words.npy": buffer.getvalue(), "words.txt": "whisk\nöl\n".encode()}


def damaged(data: bytes) -> list[bytes]:
    rng = np.random.default_rng(0)
    cuts = [data[:size] for size in {0, 1, 2, 7, 100, len(data) // 2, len(data) - 1}]
    found = [
        *cuts,
        rng.bytes(300),
        b"\x80\x02" + rng.bytes(300),
        b"PK\x03\x04" + rng.bytes(300),
        b"PK\x05\x06" + bytes(18),
    ]
    for _ in range(60):
        changed = bytearray(data)
        for position in rng.integers(0, min(len(data), 2000), 3):
            changed[position] = rng.integers(256)
        found.append(bytes(changed))
    return found


@pytest.mark.parametrize("name", list(samples()))
def test_a_damaged_file_is_a_value_error_or_still_readable(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    refused = 0
    for data in damaged(samples()[name]):
        path.write_bytes(data)
        try:
            load_word_list(path) if name.startswith("words") else read_weights(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - most of the files, not all, are refused
            refused += 1
    assert refused > 5
    assert names(tmp_path) == [name]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_weights, load_word_list, file_sha256, load_s3d):
        with pytest.raises(ValueError, match=r"there is no file .*gone\.pt"):
            read(tmp_path / "gone.pt")


def test_a_wrong_checksum_names_got_and_expected(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"abc")
    got = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert check_sha256(path, None) == check_sha256(path, got.upper()) == got
    with pytest.raises(ValueError, match=f"got sha256 {got}, expected {'0' * 64}"):
        check_sha256(path, "0" * 64)
    with pytest.raises(ValueError, match=f"got sha256 {got}"):
        load_s3d(path, sha256="0" * 64)


def test_wrong_shapes_and_names_are_named() -> None:
    layer = nn.Linear(3, 2)
    weight, bias = torch.zeros(2, 3), torch.zeros(2)
    with pytest.raises(ValueError, match=r"x\.pt: weight got shape \(3, 2\), expected \(2, 3\)"):
        load_tensors(layer, {"weight": weight.T, "bias": bias}, source="x.pt")
    with pytest.raises(ValueError, match="got 2 tensors, expected 2: missing bias; unknown beta"):
        load_tensors(layer, {"weight": weight, "beta": bias}, source="x.pt")
    load_tensors(layer, {"weight": weight.half(), "bias": bias}, source="x.pt")
    assert layer.weight.dtype == torch.float32
    assert not layer.weight.any()


def test_a_state_dict_may_lie_under_a_key() -> None:
    tensors = {"weight": torch.zeros(2)}
    for saved in (tensors, {"model": tensors}, {"state_dict": tensors, "epoch": 3}, {**tensors, 5: torch.zeros(1)}):
        assert list(tensors_of(saved, source="x.pt")) == ["weight"]
    for empty in ({}, {"epoch": 3}, [torch.zeros(2)], None):
        with pytest.raises(ValueError, match=r"x\.pt: got no tensors"):
            tensors_of(empty, source="x.pt")


def test_word_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(["whisk", "\x85", "eggs"]))
    (tmp_path / "words.txt").write_text("whisk\n\x85\neggs\n", encoding="utf-8")
    for name in ("words.npy", "words.txt"):
        ids = load_word_list(tmp_path / name)
        assert [ids("whisk"), ids("\x85"), ids("eggs"), ids("bowl")] == [1, 2, 3, None]


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "words.npy"
    words = np.array(["whisk", Call(os.system, f"touch {tmp_path / 'written'}")], dtype=object)
    np.save(path, words, allow_pickle=True)
    with pytest.raises(ValueError, match=r"words\.npy.*astype\(str\)"):
        load_word_list(path)
    assert names(tmp_path) == ["words.npy"]


@pytest.mark.parametrize("words", [np.arange(3), np.array([["a"], ["b"]]), np.array([b"a"])])
def test_arrays_that_are_no_rows_of_words_are_refused(words: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", words)
    with pytest.raises(ValueError, match="expected a row of strings"):
        load_word_list(tmp_path / "words.npy")
