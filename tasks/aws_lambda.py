"""The tasks of the application in AWS Lambda: the handler is ``tasks.aws_lambda.handler``."""

from pipeline.aws_lambda import sqs_handler
from tasks.app import app

app.loader.import_default_modules()  # the tasks that it includes

handler = sqs_handler(app)
