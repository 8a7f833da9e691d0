"""What a test on the real servers gets for itself; the servers are in tests/conftest.py."""

# --- what a test gets for itself (a database, buckets, topics) ---
