"""Tiny CLIP and SigLIP models with random weights, saved as the hub lays them out."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

IMAGE_SIZE = 32
DIM = 24
SENTENCES = (
    "a red square moves over a green field", "a blue circle stands still", "crack the eggs into a bowl and whisk them",
    "the yellow triangle turns slowly", "add salt and pepper to the pan", "a man cuts an onion on a wooden board",
)  # fmt: skip


def save_random_clip(folder: Path, seed: int = 0) -> Path:
    """Save a CLIP of two layers a tower: images of 32 x 32 pixels, 24 joint dimensions, texts of 40 tokens at most."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from models.backbones.initialise import he_initialise

    vocab, merges = _byte_pairs()
    tokenizer = CLIPTokenizer(vocab, merges)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**tower, **ends, "vocab_size": len(vocab), "max_position_embeddings": 40},
        vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8},
        projection_dim=DIM,
    )
    model = CLIPModel(config)
    he_initialise(model, seed)
    size = {"size": {"shortest_edge": IMAGE_SIZE}, "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}}
    for part in (model, tokenizer, CLIPImageProcessorPil(**size)):
        part.save_pretrained(folder)
    return folder


def save_random_siglip(folder: Path, seed: int = 0) -> Path:
    """Save a SigLIP of the same sizes; its tokenizer is CLIP's, as a SentencePiece model would take training."""
    from transformers import CLIPTokenizer, SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    from models.backbones.initialise import he_initialise

    vocab, merges = _byte_pairs()
    tower = {"hidden_size": DIM, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**tower, "vocab_size": len(vocab), "max_position_embeddings": 16, "projection_size": DIM},
        vision_config={**tower, "image_size": IMAGE_SIZE, "patch_size": 8},
    )
    model = SiglipModel(config)
    he_initialise(model, seed)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    for part in (model, CLIPTokenizer(vocab, merges), SiglipImageProcessorPil(size=size)):
        part.save_pretrained(folder)
    return folder


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train byte pairs on a few sentences; every byte has a token, alone and at a word's end."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    import json

    trained = json.loads(tokenizer.to_str())["model"]
    return trained["vocab"], [tuple(pair) for pair in trained["merges"]]
