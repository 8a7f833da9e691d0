"""Poll the sources, land what changed, announce it; sweep the bucket against the ledger."""
