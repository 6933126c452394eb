"""The store: where artifacts lie, how they become visible, and the doors to tar and Parquet."""
