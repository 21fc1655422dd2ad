"""Payloads and records in S3.

``store`` is the store, ``records`` its records. ``client`` makes one boto3 client per process, ``reading``
reads large objects in parallel ranges, ``errors`` maps boto3's errors by the table in ``error_table``.
"""
