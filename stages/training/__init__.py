"""Training: which rows and words make a sample, how samples make a batch, the loop, and its checkpoints."""
