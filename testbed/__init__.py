"""A continuum on one machine, and benchmarks against peers. Never shipped, never imported by it."""
