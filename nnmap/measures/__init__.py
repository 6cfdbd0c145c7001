"""What is measured on a network or a chip."""
