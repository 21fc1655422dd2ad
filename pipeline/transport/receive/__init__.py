"""How messages come in: the HTTP side of the event loop, the receiver, and whose turn it is."""
