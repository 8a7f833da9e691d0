"""`medallion add FILE`: look at the whole of a sample and write down what it is, as a dataset's contract."""
