"""The Celery end: what runs in a worker.

``steps`` wires a worker when it starts, ``request`` follows each delivery to its end, ``releaser`` gives
payloads up once their messages are gone, ``observe`` counts what happened.
"""
