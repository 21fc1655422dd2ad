"""Errors of the gateway, each with the HTTP status that it is answered with."""


class RequestError(Exception):
    """A request is well-formed, and the gateway does not do it. The message is for the client."""


class NotAllowedError(RequestError):
    """The limits do not allow it: 422."""


class NotFoundError(RequestError):
    """There is no such object: 404."""
