"""The ``pipeline`` command.

``main`` is the entry point; ``claim``, ``dlq``, ``doctor``, ``flower``, ``provision``, ``sweep`` and ``top``
are its commands. They share ``app_option`` (``-A`` and ``-Q``), ``error_reports`` (errors, ``--json``),
``exit_codes``, ``output`` and ``tables``. ``top_layout`` and ``top_terminal`` draw ``top``;
``progress_bar`` and ``flower_server`` need extras.
"""
