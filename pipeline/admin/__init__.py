"""What operators do to queues and payloads; the ``pipeline`` command is their end of it.

Nothing here prints or asks: ``pipeline/cli/`` does.
"""
