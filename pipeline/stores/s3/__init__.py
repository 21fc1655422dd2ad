"""Payloads and records in S3: ``store`` writes, ``reading`` reads, ``meanings`` says what errors mean."""
