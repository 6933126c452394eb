"""Narrations: transcript files and tables, found, read, rid of rolling repeats, cut into sentences and paragraphs."""
