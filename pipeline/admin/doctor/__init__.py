"""The checks of ``pipeline doctor``.

``all_checks`` runs them, and has those of settings, lifecycle, clock and remote control; ``store_checks``,
``queue_checks``, ``permissions`` and ``misspelled_settings`` have the others. ``check`` is one result.
"""
