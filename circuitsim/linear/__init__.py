"""Tiles of resistors: exact operators, node voltages, gradients and their certificates."""
