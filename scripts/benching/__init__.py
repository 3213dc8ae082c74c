"""What `scripts/bench.py` is made of: measuring, environments, cases, and their figures."""
