"""Puts our SQS transport in the place of Kombu's: a pytest plugin, for Kombu's own tests of it.

``tests/integration/test_kombu_suite.py`` runs them so, from Kombu's source distribution.
"""

from kombu.transport import SQS

import pipeline.transport

SQS.Channel = pipeline.transport.Channel
SQS.Transport = pipeline.transport.Transport
SQS.QoS = pipeline.transport.Channel.QoS

pipeline.transport.Channel.default_wait_time_seconds = 10
"""Kombu's own default: two tests name it, and are about other things."""
