"""S3D-G without published weights: channel order, seeds, shapes and the folded form."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from models.backbones.initialise import fill_normal, he_initialise
from models.backbones.int8 import Int8Convolutions
from models.backbones.maps import max_pool, max_pool_centred
from models.backbones.planar import Branch, FloatConvolutions
from models.backbones.s3d import S3D, SamePool, random_s3d, space_to_depth
from models.backbones.s3d_features import Arithmetic, Precision, S3DFeatures
from models.backbones.s3d_inference import FrozenS3D, PlanarConv, paired_blocks
from models.backbones.s3d_text import NUM_WORDS, WordList, hashed_word_id, word_ids
from stages.errors import ConfigError
from stages.media.backbones import check_precision


@pytest.fixture(scope="module")
def network() -> S3D:
    return random_s3d(0)


def smooth_clips(count: int, frames: int = 8, size: int = 32) -> torch.Tensor:
    """Clips of drifting colour gradients: (B, F, H, W, 3) uint8."""
    time, height, width = np.meshgrid(np.arange(frames), np.arange(size), np.arange(size), indexing="ij")
    clips = [
        np.stack([127 + 120 * np.sin(k + c + 0.1 * c * height + 0.05 * (k + 1) * width + 0.2 * time) for c in range(3)])
        for k in range(count)
    ]
    return torch.from_numpy(np.stack(clips).round().astype(np.uint8)).movedim(1, -1).contiguous()


def test_space_to_depth_puts_every_pixel_into_its_channel() -> None:
    for index in np.ndindex(2, 2, 2, 3):
        dt, dh, dw, colour = index
        frames = torch.zeros((1, 4, 6, 8, 3), dtype=torch.uint8)
        frames[0, 2 + dt, 4 + dh, 2 + dw, colour] = 7
        blocks = space_to_depth(frames)
        assert blocks.shape == (1, 24, 2, 3, 4)
        assert blocks.nonzero().tolist() == [[0, ((dt * 2 + dh) * 2 + dw) * 3 + colour, 1, 2, 1]]
        assert blocks.sum() == 7


@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_pooling_pads_with_zeros_behind_the_data(size: int) -> None:
    x = torch.from_numpy(np.random.default_rng(size).random((1, 2, size, size, size), dtype=np.float32))
    padded = nn.functional.pad(x, (0, 1, 0, 1, 0, 1))
    expected = nn.functional.max_pool3d(padded, 3, 2, ceil_mode=True)
    assert torch.equal(SamePool((3, 3, 3), (2, 2, 2))(x), expected)


@pytest.mark.parametrize(("frames", "planes"), [(30, 4), (32, 4), (16, 2)])
def test_any_even_length_gives_the_two_pooled_outputs(network: S3D, frames: int, planes: int) -> None:
    seen: list[torch.Size] = []
    hook = network.mixed_5c.register_forward_hook(lambda _module, _input, output: seen.append(output.shape))
    with torch.inference_mode():
        output = network(torch.rand((1, 3, frames, 32, 32), generator=torch.Generator().manual_seed(0)))
    hook.remove()
    assert seen[0][2] == planes
    assert output.video_embedding.shape == (1, 512)
    assert output.mixed_5c.shape == (1, 1024)


@pytest.mark.parametrize("shape", [(1, 3, 15, 32, 32), (1, 3, 16, 31, 32), (1, 1, 16, 32, 32), (3, 16, 32, 32)])
def test_other_shapes_are_refused(network: S3D, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        network(torch.zeros(shape))


def test_one_seed_is_reproducible_and_seeds_differ() -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        layer = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
        he_initialise(layer, seed)
        return {name: value.clone() for name, value in layer.state_dict().items()}

    first = weights(0)
    assert all(torch.equal(value, first[name]) for name, value in weights(0).items())
    others = [weights(seed)["0.weight"] for seed in (1, 2, 3, 2**32, 2**40)]
    rows = torch.stack([first["0.weight"], *others])
    assert len(rows.flatten(1).unique(dim=0)) == 6
    assert torch.equal(first["1.weight"], torch.ones(5))
    assert torch.equal(first["0.bias"], torch.zeros(5))


def test_normal_values_have_the_asked_spread_and_depend_on_the_name() -> None:
    one, two = torch.empty(300, 400), torch.empty(300, 400)
    fill_normal(one, 0.02, name="a", seed=0)
    fill_normal(two, 0.02, name="b", seed=0)
    assert abs(float(one.std()) / 0.02 - 1) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.02


def test_random_features_fit_float16_and_tell_clips_apart(network: S3D) -> None:
    clips = smooth_clips(3)
    for output in ("video_embedding", "mixed_5c"):
        rows = S3DFeatures(network, output=output)(clips)
        assert 0.1 < rows.std() < 1000
        unit = nn.functional.normalize(rows, dim=1)
        rounding = (unit.half().float() - unit).norm(dim=1).max()
        apart = torch.cdist(unit, unit)[~torch.eye(3, dtype=torch.bool)].min()
        assert apart > 100 * rounding  # what a shard stores in float16 keeps clips apart


@pytest.mark.parametrize("shape", [(8, 32, 32), (30, 48, 32), (2, 10, 6)], ids=str)
def test_freezing_changes_nothing_but_rounding(network: S3D, shape: tuple[int, int, int]) -> None:
    clips = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8))
    exact = copy.deepcopy(network).double()
    with torch.inference_mode():
        plain = exact(clips.movedim(-1, 1).double() / 255)
        frozen = FrozenS3D(network, FloatConvolutions(torch.float32))(clips)
    for got, expected in zip(frozen, plain, strict=True):
        assert got.dtype == torch.float32
        assert (got - expected).norm() <= 2e-5 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_pooling_of_bit_patterns_is_pooling(size: int, dtype: torch.dtype) -> None:
    x = torch.from_numpy(np.random.default_rng(size).random((2, 3, size, size, size), dtype=np.float32))
    x[x < 0.3] = 0.0
    x = (x * 255).to(dtype)
    last = x.permute(0, 2, 3, 4, 1).contiguous()
    for kernel, stride in (((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))):
        got = max_pool(last, kernel, stride).permute(0, 4, 1, 2, 3)
        assert torch.equal(got.float(), SamePool(kernel, stride)(x.float()))
    centred = max_pool_centred(last).permute(0, 4, 1, 2, 3)
    assert torch.equal(centred.float(), nn.functional.max_pool3d(x.float(), 3, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gating_behind_the_pooling_changes_no_bit(dtype: torch.dtype) -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 6, 7, 16), dtype=np.float32)).to(dtype)
    weights = torch.rand((2, 8), generator=torch.Generator().manual_seed(0))
    pool = partial(max_pool, kernel=(3, 3, 3), stride=(2, 2, 2))
    branches = [Branch(x[..., :8], lambda _means: weights), Branch(x[..., 8:], lambda _means: 1 - weights)]
    joined, _ = FloatConvolutions(dtype).join(branches, 16, pool)
    both = torch.cat([weights, 1 - weights], dim=1).to(dtype)
    assert joined.equal(pool(x * both[:, None, None, None]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_paired_blocks_hold_each_block_beside_its_successor(dtype: torch.dtype) -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 6, 8, 10, 3), dtype=np.uint8))
    blocks = space_to_depth(frames).movedim(1, -1).to(dtype)
    paired = paired_blocks(frames, dtype)
    assert paired.shape == (2, 3, 7, 8, 48)
    inside = paired[:, :, 1:-2, 1:-2]
    assert torch.equal(inside[..., :24], blocks)
    assert torch.equal(inside[:, :-1, ..., 24:], blocks[:, 1:])
    assert not inside[:, -1, ..., 24:].any()
    assert paired.float().sum() == inside.float().sum()


@pytest.mark.parametrize(
    ("precision", "arithmetic"), [("float32", "float"), ("bfloat16", "float"), ("float32", "int8")]
)
def test_rows_are_the_same_bytes_each_time_and_alone(
    network: S3D, precision: Precision, arithmetic: Arithmetic
) -> None:
    try:
        check_precision(precision, "cpu")
    except ConfigError as error:
        pytest.skip(str(error))
    clips = smooth_clips(3, frames=30, size=224)
    rows = S3DFeatures(network, precision=precision, arithmetic=arithmetic)
    together = rows(clips)
    assert torch.equal(rows(clips), together)
    assert torch.equal(torch.cat([rows(clips[k : k + 1]) for k in range(3)]), together)


@pytest.mark.parametrize("output", ["video_embedding", "mixed_5c"])
def test_features_agree_with_the_plain_network(network: S3D, output: str) -> None:
    clips = smooth_clips(2)
    with torch.inference_mode():
        plain = getattr(network(clips.movedim(-1, 1).float() / 255), output)
    precise = S3DFeatures(network, output=output)(clips)
    assert (precise - plain).norm() <= 1e-4 * plain.norm()
    coarse = S3DFeatures(network, output=output, precision="bfloat16")(clips)
    assert coarse.dtype == torch.float32
    # Random weights round worse than trained ones: the golden test asks both for 0.9995.
    assert torch.cosine_similarity(coarse, plain).min() >= 0.997
    whole = S3DFeatures(network, output=output, arithmetic="int8")(clips)
    assert torch.cosine_similarity(whole, plain).min() >= 0.999
    unit = S3DFeatures(network, output=output, l2_normalise=True)(clips)
    assert torch.allclose(unit, nn.functional.normalize(plain, dim=1), atol=1e-4)


def test_freezing_leaves_the_model_alone_and_wants_it_plain(network: S3D) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for convolutions in (FloatConvolutions(torch.bfloat16), Int8Convolutions(torch.float32)):
        FrozenS3D(network, convolutions)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    changed = copy.deepcopy(network)
    changed.conv1.bn1 = nn.Identity()
    with pytest.raises(ValueError, match="Identity"):
        FrozenS3D(changed, FloatConvolutions(torch.float32))
    with pytest.raises(ValueError, match="planar convolution"):
        PlanarConv(nn.Conv3d(4, 4, 3), FloatConvolutions(torch.float32))


def test_what_is_asked_of_the_arithmetic_is_known(network: S3D) -> None:
    with pytest.raises(ValueError, match="arithmetic: got 'int4' on cpu"):
        S3DFeatures(network, arithmetic="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="arithmetic: got 'int8' on cuda"):
        S3DFeatures(network, arithmetic="int8", device="cuda")


@pytest.mark.parametrize(
    "frames",
    [torch.zeros((1, 8, 32, 32, 3)), torch.zeros((1, 3, 8, 32, 32), dtype=torch.uint8)],
    ids=["float", "channels first"],
)
def test_features_take_decoded_frames_only(network: S3D, frames: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        S3DFeatures(network)(frames)


def test_words_outside_the_list_are_dropped_and_sixteen_are_kept() -> None:
    ids = WordList(["whisk", "don't", "eggs"])
    rows = word_ids(["Whisk, the EGGS!", "don't", "", "eggs " * 20], ids)
    assert rows.shape == (4, 16)
    assert rows[0, :3].tolist() == [1, 3, 0]
    assert rows[1, 0] == 2
    assert not rows[2].any()
    assert rows[3].tolist() == [3] * 16


def test_hashed_ids_are_rows_of_the_table() -> None:
    found = {hashed_word_id(f"word{index}") for index in range(2000)}
    assert min(found) >= 1
    assert max(found) <= NUM_WORDS
    assert len(found) > 1900


def test_a_word_list_longer_than_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 66249"):
        WordList([str(number) for number in range(NUM_WORDS + 1)])
