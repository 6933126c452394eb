"""Serving an index: a small HTTP API and the page that asks it; answers are the typed results of retrieval."""
