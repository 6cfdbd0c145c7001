"""Layers on tiles as torch modules."""
