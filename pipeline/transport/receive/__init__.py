"""How messages are received: requests to SQS, pauses after failures, and registration on arrival."""
