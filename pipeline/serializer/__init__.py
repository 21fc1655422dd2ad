"""Kombu's end: the serializer ``claimcheck``, and what Kombu loads when it starts."""
