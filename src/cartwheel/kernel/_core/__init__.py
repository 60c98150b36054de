"""The base of the kernel: messages, time, logs, background jobs, batches."""
