"""Payloads of messages that are published together: uploaded side by side, small ones in one object.

``uploads`` collects them for one batch, ``upload`` is one object on its way into the store, and ``threads``
runs what takes time.
"""
