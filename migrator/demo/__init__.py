"""Real servers on this machine, sample activations, and the guided tour."""
