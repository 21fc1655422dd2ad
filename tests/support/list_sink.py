"""A sink of metrics that keeps what it receives."""


class ListSink:
    """Keeps the batches that it receives; raises for the first ``failures`` batches."""

    def __init__(self, failures=0):
        self.batches = []
        self.failures = failures

    def emit(self, batch):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        self.batches.append(batch)

    @property
    def series(self):
        return [series for batch in self.batches for series in batch]

    def total(self, metric, **where):
        return sum(
            value * count
            for series in self.series
            if series.metric is metric and all(getattr(series, key) == value for key, value in where.items())
            for value, count in series.values.items()
        )

    def count(self, metric):
        return sum(sum(s.values.values()) for s in self.series if s.metric is metric)
