"""RabbitMQ: a broker of the current user, with a port mapper (epmd), cookie and folder of its own."""

import os
import shutil
import socket
from pathlib import Path

from programs import on_path

from pipeline.local import HOST, Server, free_port

__all__ = ["RabbitMQ"]

PATH = f"/usr/lib/rabbitmq/bin{os.pathsep}{on_path()['PATH']}"
"""Debian's commands in ``/usr/sbin`` become the user ``rabbitmq``; these are what they run then."""


class PortMapper(Server):
    """epmd, which knows the broker's port for ``rabbitmqctl``. One that the broker starts outlives it."""

    name = "epmd"

    def command(self):
        """Return the command; its port is in the environment."""
        return [self.name]

    def settings(self):
        """Listen on this machine alone."""
        return {"ERL_EPMD_PORT": str(self.port), "ERL_EPMD_ADDRESS": HOST}

    def answers(self):
        """Connect."""
        return connected(self.port)


class RabbitMQ(Server):
    """rabbitmq-server without plugins, with the URL of its virtual host ``/``."""

    name = "rabbitmq-server"

    def __init__(self):
        super().__init__()
        self.url = f"amqp://guest:guest@{HOST}:{self.port}//"
        self.mapper = PortMapper()

    def start(self):
        """Start the port mapper, then the broker."""
        self.mapper.start()
        return super().start()

    def stop(self):
        """Stop the broker, then the port mapper."""
        super().stop()
        self.mapper.stop()

    def command(self):
        """Return the command; with ``settings`` its process becomes the broker itself."""
        program = shutil.which(self.name, path=PATH) or self.name
        return [program, "-noinput", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]

    def settings(self):
        """Keep all in the server's own folder, and read nothing of the machine's RabbitMQ."""
        folder = Path(self._folder.name)
        return {
            **self.access(),
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
        }

    def access(self):
        """Return the variables with which ``rabbitmqctl`` finds this broker, and its cookie."""
        return {
            **self.mapper.settings(),
            "HOME": self._folder.name,
            "PATH": PATH,
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_NODENAME": f"rabbit-{self.port}@localhost",
        }

    def answers(self):
        """Connect: it listens when it is ready."""
        return connected(self.port)


def connected(port):
    """Connect to a port of this machine, and hang up."""
    socket.create_connection((HOST, port), 1).close()
    return True
