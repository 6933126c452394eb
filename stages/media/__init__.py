"""The room of media files: times go in, frames with their true presentation times come out.

Decoding happens in processes that may be killed (`isolation`, `worker`); nothing here imports torch or ray.
"""
