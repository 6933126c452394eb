"""Encoders that put windows of features and sentences into one space: trained (dual) and frozen (joint)."""
