"""Sampled reads of a run, solved again by ngspice on the emitted netlists."""
