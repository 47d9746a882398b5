"""The pure core: state in, event in, state and outputs out. No I/O, no clock, no randomness."""
