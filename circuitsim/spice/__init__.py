"""ngspice: a session in a process of its own, and circuits solved by it."""
