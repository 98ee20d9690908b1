"""Gossamer measured beside its peers, on this machine, in this run. `python -m testbed.bench`."""
