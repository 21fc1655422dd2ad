"""Limits of AWS, each with unit and source. The library's own limits are where they are used."""

SQS_MESSAGE_LIMIT_BYTES = 1_048_576
"""Largest message, attributes included, and largest batch, all its messages together, since August 2025.
Source: SQS API Reference, SendMessage, SendMessageBatch."""

SQS_FORMER_MESSAGE_LIMIT_BYTES = 262_144
"""The same until August 2025. Other brokers that speak SQS's protocol may still stop there.
Source: Amazon SQS, document history, August 2025."""

SQS_BATCH_COUNT = 10
"""Most messages of one call. Source: SQS API Reference, ReceiveMessage, SendMessageBatch, DeleteMessageBatch,
ChangeMessageVisibilityBatch."""

SQS_VISIBILITY_LIMIT_SECONDS = 43_200
"""Longest visibility timeout, and longest time from its receipt that a message can stay hidden: 12 hours.
Source: SQS API Reference, ChangeMessageVisibility; SQS Developer Guide, "Amazon SQS visibility timeout"."""

SQS_RETENTION_LIMIT_SECONDS = 1_209_600
"""Longest that a queue keeps a message: 14 days. Source: SQS API Reference, MessageRetentionPeriod."""

SQS_RETENTION_LEAST_SECONDS = 60
"""Shortest that a queue keeps a message. Source: as above."""

SQS_RETENTION_DEFAULT_SECONDS = 345_600
"""How long a new queue keeps a message: 4 days. Source: as above."""

SQS_DELAY_LIMIT_SECONDS = 900
"""Longest ``DelaySeconds``. Source: SQS API Reference, SendMessage."""

SQS_WAIT_LIMIT_SECONDS = 20
"""Longest long poll. Source: SQS API Reference, ReceiveMessage, WaitTimeSeconds."""

SQS_RECEIVE_COUNT_LIMIT = 1_000
"""Most deliveries before a message is dead-lettered. Source: SQS API Reference, RedrivePolicy."""

SQS_NAME_LIMIT_CHARACTERS = 80
"""Longest queue name. Source: SQS API Reference, CreateQueue."""

SQS_FIFO_SUFFIX = ".fifo"
"""How the name of a FIFO queue ends, and of no other. Source: as above."""

SQS_DEDUPLICATION_SECONDS = 300
"""How long a FIFO queue remembers a deduplication id: it accepts and drops a message with the same id.
Source: SQS Developer Guide, "Exactly-once processing in Amazon SQS"."""

SQS_IN_FLIGHT_COUNT = 120_000
"""Most messages of a queue that were received and not deleted, about. Beyond it a long poll gets no error,
only an empty answer; a short poll of a standard queue gets ``OverLimit``.
Source: SQS Developer Guide, "Amazon SQS message quotas", "Amazon SQS FIFO queue quotas"."""

SQS_LIST_COUNT = 1_000
"""Most queues in one answer. Source: SQS API Reference, ListQueues."""

SNS_MESSAGE_LIMIT_BYTES = 262_144
"""Largest message of a topic by default. Source: SNS API Reference, Publish."""

SNS_ATTRIBUTES_COUNT = 10
"""Most attributes of a message that is delivered raw to SQS; with more, it is not delivered.
Source: SNS Developer Guide, "Amazon SNS message attributes"."""

EVENTBRIDGE_LIMIT_BYTES = 1_048_576
"""Largest entry, and largest call, of PutEvents, since January 2026; 256 KiB before.
Source: EventBridge User Guide, "Calculating PutEvents event entry size"; AWS News Blog, January 2026."""

EVENTBRIDGE_FORMER_LIMIT_BYTES = 262_144
"""The same until January 2026. Some targets still stop there: Step Functions."""

STS_SESSION_LEAST_SECONDS = 900
"""Shortest life of an assumed role's credentials. Source: STS API Reference, AssumeRole."""

STS_SESSION_LIMIT_SECONDS = 43_200
"""Longest: 12 hours. Source: as above."""

S3_OBJECT_LIMIT_BYTES = 5 * 1024**4
"""Largest object: 5 TiB. Source: Amazon S3 User Guide."""

S3_PARTS_COUNT = 10_000
"""Most parts of one upload. Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits"."""

S3_URL_LIMIT_SECONDS = 604_800
"""Longest life of a presigned URL: seven days. Source: S3 API Reference, "Authenticating Requests: Using
Query Parameters", X-Amz-Expires."""

S3_KEY_LIMIT_BYTES = 1_024
"""Longest key, in UTF-8. Source: Amazon S3 User Guide, "Naming Amazon S3 objects"."""

S3_DELETE_COUNT = 1_000
"""Most keys of one DeleteObjects. Source: S3 API Reference."""

S3_LIST_COUNT = 1_000
"""Most keys of one ListObjectsV2. Source: S3 API Reference."""

DYNAMODB_WRITE_COUNT = 25
"""Most items of one BatchWriteItem. Source: DynamoDB API Reference, BatchWriteItem."""

DYNAMODB_ITEM_LIMIT_BYTES = 409_600
"""Largest item, names of attributes included: 400 KB.
Source: DynamoDB Developer Guide, "Quotas in Amazon DynamoDB"."""

CLOUDWATCH_DATA_COUNT = 1_000
"""Most data in one call. Source: CloudWatch API Reference, PutMetricData."""

CLOUDWATCH_CALL_LIMIT_BYTES = 1_000_000
"""Largest call: 1 MB before compression, read strictly. Source: as above."""

CLOUDWATCH_DIMENSION_LIMIT_CHARACTERS = 1_024
"""Longest value of a dimension. Source: CloudWatch API Reference, Dimension."""
