"""Mail to customers: what was sent, to whom, and why."""
