"""Alignment of sequences: how well the sentences of a paragraph and the windows of a video go together in time."""
