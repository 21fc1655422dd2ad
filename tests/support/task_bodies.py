"""Bodies of task messages."""

from pipeline.claimcheck import claim as wire_form

NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def task_body(*args, embed=NO_LINKS, **kwargs):
    return args, kwargs, embed


def payload_of(body):
    return wire_form.read(body).payload
