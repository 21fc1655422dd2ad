"""How messages are sent: delay and ids, batches, and an answer of SQS for each message."""
