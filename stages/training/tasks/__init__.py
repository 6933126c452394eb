"""Objectives with their weights and data: what the loop trains. One paper, or one protocol of fine-tuning, a file."""
