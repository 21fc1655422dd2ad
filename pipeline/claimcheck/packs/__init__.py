"""Payloads of messages that are published together: uploaded side by side, small ones in one object.

``uploads`` collects them for one batch, ``upload`` is one object on its way into the store, ``pack`` one
object with several payloads, and ``threads`` runs what takes time. ``ranges`` reads a payload of a pack.
"""
