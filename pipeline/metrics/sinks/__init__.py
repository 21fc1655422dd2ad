"""Where numbers go: CloudWatch, its Embedded Metric Format, OpenTelemetry."""
