"""Documentation that follows from config/ and sql/: the data dictionary and the schemas for other tools."""
