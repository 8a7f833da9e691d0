"""One module an outside technology."""
