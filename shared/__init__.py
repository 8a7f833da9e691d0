"""What the services have in common: contracts, ledger, events, ports."""
