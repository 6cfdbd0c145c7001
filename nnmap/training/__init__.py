"""Data, recipes and quantisation-aware training."""
