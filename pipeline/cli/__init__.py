"""The ``pipeline`` command.

``main`` is the entry point; ``claim``, ``dlq``, ``doctor``, ``flower``, ``provision``, ``sweep`` and ``top``
are its commands. ``frame`` has what commands share: the app, ``--json``, tables and errors; ``exit_codes``
the codes. ``top_layout`` and ``top_terminal`` draw ``top``; ``progress_bar`` and ``flower_server`` need
extras.
"""
