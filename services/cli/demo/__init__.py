"""The demonstration: what the pipeline does, in a minute."""
