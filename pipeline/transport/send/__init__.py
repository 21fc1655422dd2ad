"""How messages go out: queues that lose nothing, batches, and an answer for each message."""
