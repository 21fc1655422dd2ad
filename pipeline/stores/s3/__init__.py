"""Payloads and records in S3.

``store`` is the store, ``records`` its records. ``reading`` reads large objects in parallel ranges,
``error_table`` has S3's errors.
"""
