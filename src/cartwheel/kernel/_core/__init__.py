"""What everything in the kernel stands on: messages, time, logs, background jobs, batches."""
