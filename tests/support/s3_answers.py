"""Answers of S3, and payloads to store."""

KIB, MIB = 1024, 1024**2


def xml(code, more=""):
    return f"<Error><Code>{code}</Code><Message>because</Message>{more}</Error>".encode()
