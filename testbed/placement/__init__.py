"""A discrete-event simulator that drives the shipping placement through virtual time."""
