"""What the cells of a tile draw between two voltages, as the nonlinear solver sees them."""
