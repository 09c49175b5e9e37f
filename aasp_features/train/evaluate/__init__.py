"""How good are the vectors? Labelled tasks, linear and nearest-neighbour probes, tables."""
