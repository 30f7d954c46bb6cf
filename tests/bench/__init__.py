"""What a change costs, measured: `python -m tests.bench`, or `make bench`."""
