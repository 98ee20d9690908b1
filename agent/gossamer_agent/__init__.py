"""The daemon on one machine: it says what it can do, and runs tasks in worker processes."""
