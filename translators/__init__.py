"""Pure functions: slices of the mesh model -> Envoy resources. No I/O, no clock, no randomness, no logging."""
