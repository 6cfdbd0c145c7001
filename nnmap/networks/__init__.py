"""The papers' networks, their plans and their trained weights."""
