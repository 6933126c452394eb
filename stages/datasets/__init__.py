"""Data sets: annotation files and splits, as records that name videos of the manifest."""
