"""The numbers of ``pipeline top``.

``readers`` read queues, store and workers; ``poller`` calls a reader at an interval; ``monitor`` polls all of
them and returns snapshots; ``cost`` estimates what the requests cost.
"""
