"""Operator actions on queues and payloads. Nothing here prints or prompts; ``pipeline/cli/`` does.

``dead_letter_queues`` reads, redrives and purges; ``dead_letter`` is one of their messages, and
``received_messages``, ``purged_payloads`` and ``outcome`` belong to it. ``sweep`` finds orphans, and
``stale_listeners`` queues of monitors that died. ``provision`` creates bucket and queues; ``bucket`` and
``lifetimes`` have the lifecycle rules. ``doctor`` checks the setup, ``top`` monitors.
"""
