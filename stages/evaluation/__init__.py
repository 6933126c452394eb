"""Turns embeddings with known answers into numbers that can be trusted, and into a page that shows them.

Knows vectors, spans and ids. Knows no video, no encoder, no store: the verb `stages.evaluate` reads artifacts and
hands over an `EvaluationSet`.
"""
