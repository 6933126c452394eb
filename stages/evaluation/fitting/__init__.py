"""Networks that a protocol fits before it measures: their settings, batches and losses. The loop is training's."""
