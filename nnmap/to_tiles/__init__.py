"""A torch network and a plan -> a mapped network."""

from nnmap.to_tiles.front import map_network

__all__ = ["map_network"]
