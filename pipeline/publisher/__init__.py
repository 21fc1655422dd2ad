"""Celery's producing end: publishes tasks, alone or in batches, and sends remote control commands.

``amqp`` makes the message of a task, ``task_sender`` sends it, ``routes`` says where to. ``checks`` raises
what a worker would raise too late. ``batches`` collects messages. ``unsent`` decides about payloads whose
message was not sent. ``control`` sends commands.
"""
