"""Tiles of cells that bend."""
