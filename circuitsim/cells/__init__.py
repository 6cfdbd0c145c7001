"""One cell by measurement: secants and surfaces calibrated against ngspice."""
