"""Tiny CLIP and SigLIP models with random weights, saved as the hub lays them out."""

from collections.abc import Mapping
from pathlib import Path

from tokenizers import pre_tokenizers

IMAGE_SIZE = 32
DIM = 24
SENTENCES = (
    "a red square moves over a green field", "a blue circle stands still", "crack the eggs into a bowl and whisk them",
    "the yellow triangle turns slowly", "add salt and pepper to the pan", "a man cuts an onion on a wooden board",
)  # fmt: skip


def save_random_clip(folder: Path, seed: int = 0, vision: Mapping[str, int] | None = None) -> Path:
    """Save a CLIP of two layers a tower: images of 32 x 32 pixels, 24 joint dimensions, texts of 40 tokens at most.

    `vision` changes settings of the image tower (`image_size`, `hidden_size`, ...).
    """
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from models.backbones.initialise import he_initialise

    vocab, merges = _byte_pairs()
    tokenizer = CLIPTokenizer(vocab, merges)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**tower, **ends, "vocab_size": len(vocab), "max_position_embeddings": 40},
        vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8, **(vision or {})},
        projection_dim=DIM,
    )
    model = CLIPModel(config)
    he_initialise(model, seed)
    side = config.vision_config.image_size
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    for part in (model, tokenizer, CLIPImageProcessorPil(**size)):
        part.save_pretrained(folder)
    return folder


def save_random_siglip(folder: Path, seed: int = 0) -> Path:
    """Save a SigLIP of the same sizes; its tokenizer is CLIP's, as a SentencePiece model would take training."""
    from transformers import CLIPTokenizer, SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    from models.backbones.initialise import he_initialise

    vocab, merges = _byte_pairs()
    tokenizer = CLIPTokenizer(vocab, merges)
    tower = {"hidden_size": DIM, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    config = SiglipConfig(
        text_config={**tower, **ends, "vocab_size": len(vocab), "max_position_embeddings": 16, "projection_size": DIM},
        vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8},
    )
    model = SiglipModel(config)
    he_initialise(model, seed)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    for part in (model, tokenizer, SiglipImageProcessorPil(size=size)):
        part.save_pretrained(folder)
    return folder


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte pairs that join each word of the sentences from left to right; every byte has a token of its own.

    The trainer of the `tokenizers` library gives other ids at every run.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    merges: dict[tuple[str, str], None] = {}
    for word in sorted({word for sentence in SENTENCES for word in sentence.split()}):
        for end in range(1, len(word)):
            merges[word[:end], word[end] + ("</w>" if end + 1 == len(word) else "")] = None
    tokens += ["".join(pair) for pair in merges]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}, list(merges)
