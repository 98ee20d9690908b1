"""Where a task should run: pure values and functions, without I/O, clock or global randomness."""
