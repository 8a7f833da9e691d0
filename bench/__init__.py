"""Measurements of the pipeline on the machine at hand: `make bench`."""
