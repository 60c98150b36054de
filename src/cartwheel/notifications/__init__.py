"""Mail to customers: which went to whom, and why."""
