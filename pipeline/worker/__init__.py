"""The Celery end: what runs in a worker.

``steps`` wires a worker when it starts, ``validation`` checks each message, ``request`` follows each
delivery to its end, ``releaser`` deletes payloads once their messages are gone, ``signals`` counts what
happened.
"""
