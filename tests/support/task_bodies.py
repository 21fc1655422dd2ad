"""Bodies of task messages."""

from pipeline.claimcheck import claim as wire_form

NO_SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def task_body(*args, embed=NO_SIGNATURES, **kwargs):
    return args, kwargs, embed


def payload_of(body):
    return wire_form.read(body).payload
