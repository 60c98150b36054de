"""`make bench`: measure the throughput of the running system and its cost; see `run`."""
