"""Servers that stand in for AWS and Redis: child processes on free ports."""

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.local import HOST, Server

ROOT = Path(__file__).parents[2]


class Ministack(Server):
    """Ministack, in a venv of its own because it pins another botocore than ours."""

    name = "ministack"

    def command(self) -> Sequence[str]:
        """Return the program that MINISTACK names, or the Makefile's own."""
        return [os.environ.get("MINISTACK", str(ROOT / ".venv-ministack/bin/ministack"))]

    def settings(self) -> Mapping[str, str]:
        """Bind to this machine alone; queue URLs repeat the caller's Host, so calls stay on the proxy."""
        return {
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "SFTP_ENABLED": "0",
        }

    def answers(self) -> bool:
        """Request its own page."""
        return self.request("GET", "/_ministack/ready")

    def reset(self) -> None:
        """Delete all buckets, queues and metrics.

        Raises:
            RuntimeError: it answered with an error.
        """
        if not self.request("POST", "/_ministack/reset"):
            raise RuntimeError(f"ministack was not reset:\n{self.log()}")


class Redis(Server):
    """redis-server, which writes nothing to disk."""

    name = "redis-server"

    def command(self) -> Sequence[str]:
        """Return the command without snapshots."""
        program = shutil.which(self.name) or self.name
        return [program, "--bind", HOST, "--port", str(self.port), "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        """Connect."""
        socket.create_connection((HOST, self.port), 1).close()
        return True
