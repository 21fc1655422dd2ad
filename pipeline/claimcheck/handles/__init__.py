"""Handles: payloads that a person holds, streams, links to and shares.

``handle`` is what travels, ``putting`` stores what ``streams`` reads, ``stores`` says what is
allowed, ``source`` reads;
``ranged_file`` and ``downloading`` are two ways to read.
"""
