"""The sizes of a two-tower encoder."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args

Backbone = Literal["s3d", "clip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DualConfig:
    """Sizes and fixed ids of a two-tower encoder; the defaults are VideoCLIP's.

    Attributes:
        hidden_size: Width of both towers and of the joint space.
        num_heads: Attention heads; divides `hidden_size`.
        intermediate_size: Width of the feed-forward layers.
        video_layers, text_layers: Transformer layers of the towers.
        vocab_size: Rows of each tower's word table.
        max_positions: Rows of the position tables.
        feature_dim: Width of the features that the video tower reads.
        backbone: Which features these are.
        max_video_len: Clips in a window at most; fixes the position of the video's [SEP].
        max_text_len: Word pieces in a caption at most.
        cls_id, sep_id: Rows of the word table used as the video tower's [CLS] and [SEP].
        dropout: Of hidden states and attention, while training.
        shared: Whether one BERT, of `video_layers`, reads windows and captions (VideoCLIP's ablation).
        num_labels: Labels of the head on every clip's state (COIN's 779), 0 for none.
    """

    hidden_size: int = 768
    num_heads: int = 12
    intermediate_size: int = 3072
    video_layers: int = 6
    text_layers: int = 12
    vocab_size: int = 30522
    max_positions: int = 512
    feature_dim: int = 512
    backbone: Backbone = "s3d"
    max_video_len: int = 32
    max_text_len: int = 61
    cls_id: int = 101
    sep_id: int = 102
    dropout: float = 0.1
    shared: bool = False
    num_labels: int = 0

    _may_be_zero: ClassVar[frozenset[str]] = frozenset({"cls_id", "sep_id", "num_labels"})

    def __post_init__(self) -> None:
        self._check_types()
        if self.hidden_size % self.num_heads:
            raise ValueError(f"encoder: hidden_size {self.hidden_size} is no multiple of num_heads {self.num_heads}")
        longest = max(self.max_video_len, self.max_text_len) + 2
        if self.shared:  # captions stand behind a window
            longest = self.max_video_len + 2 + self.max_text_len + 2
        if self.max_positions < longest:
            raise ValueError(f"encoder: got max_positions {self.max_positions}, expected at least {longest}")
        if not (0 <= self.cls_id < self.vocab_size and 0 <= self.sep_id < self.vocab_size):
            raise ValueError(f"encoder: cls_id {self.cls_id} or sep_id {self.sep_id} >= vocab_size {self.vocab_size}")

    def _check_types(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "backbone":
                fits, expected = value in get_args(Backbone), f"one of {get_args(Backbone)}"
            elif field.name == "shared":
                fits, expected = type(value) is bool, "true or false"
            elif field.name == "dropout":
                fits, expected = isinstance(value, float | int) and 0 <= value < 1, "a number in [0, 1)"
            else:
                least = 0 if field.name in self._may_be_zero else 1
                fits, expected = type(value) is int and value >= least, f"a whole number >= {least}"
            if not fits:
                raise ValueError(f"encoder sizes: {field.name} got {value!r}, expected {expected}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON; an encoder without a head does not mention one."""
        values = asdict(self)
        return values if self.num_labels else {name: value for name, value in values.items() if name != "num_labels"}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read the fields back.

        Raises:
            ValueError: A key is missing or unknown, or a size is impossible.
        """
        known = {field.name for field in fields(cls)} - {"num_labels"}
        if set(values) - {"num_labels"} != known:
            raise ValueError(f"encoder sizes: got keys {sorted(values)}, expected {sorted(known)}")
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig(DualConfig):
    """Sizes of TACo's encoder; the defaults are those of its pre-training, on S3D features (papers.md 5.1).

    Attributes:
        fusion_layers: Layers that read a text and a window together.
    """

    video_layers: int = 4
    max_video_len: int = 48
    max_text_len: int = 30
    fusion_layers: int = 2

    _may_be_zero: ClassVar[frozenset[str]] = DualConfig._may_be_zero | {"video_layers"}
