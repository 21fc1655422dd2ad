"""``@idempotent``: a call that is delivered twice runs once."""
