"""On-demand metadata extraction: the demonstration that `make demo` runs."""
