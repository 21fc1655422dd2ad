"""Payloads and records in a DynamoDB table, for payloads that are small, or that S3 may not have.

``store`` is the store, ``records`` its records, ``items`` the form of what lies in the table, and
``error_table`` has DynamoDB's errors. The table's key is ``id``, a string; its TTL attribute is ``expires``.
"""
