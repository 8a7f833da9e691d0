"""Turn landed objects into typed, checked, merged rows."""
