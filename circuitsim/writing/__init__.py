"""Writing memories by pulses: a fast twin, ngspice transients, and programming schemes."""
