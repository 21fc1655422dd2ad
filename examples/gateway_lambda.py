"""The gateway behind API Gateway, in AWS Lambda: its handler is ``examples.gateway_lambda.handler``.

It needs the package ``mangum`` and the settings of ``tasks/uploads.py`` as environment variables.
"""

from mangum import Mangum

from tasks.uploads import gateway

handler = Mangum(gateway(), lifespan="off")
