"""Log lines and spans.

``log_lines`` has the loggers, ``log_fields`` their structured fields, ``sizes`` formats bytes, ``tracing``
makes OpenTelemetry spans.
"""
