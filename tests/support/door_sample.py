"""A worker behind doors, which gives a message up after two deliveries that follow each other quickly."""

from sample_fixtures import standing_sample

OPTIONS = {
    "visibility_timeout": 30,
    "wait_time_seconds": 1,
    "polling_interval": 0.1,
    "max_receive_count": 2,
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 1,
}


def behind_doors(server, directory, queues, **variables):
    """Return a context manager of the sample with these queues of ``doors_app``."""
    return standing_sample(
        server,
        directory,
        "prefork",
        [("SHOP_DOORS", "uploads"), *variables.items()],
        conf={"broker_transport_options": OPTIONS},
        queues=queues,
        module="doors_app",
    )
