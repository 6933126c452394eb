"""Frozen networks that turn frames and words into features, and the reading of their weights."""
