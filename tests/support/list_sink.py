"""A sink of metrics that keeps what it receives."""


class ListSink:
    """Keeps what it is given; refuses the first ``refusals`` batches."""

    def __init__(self, refusals=0):
        self.batches = []
        self.refusals = refusals

    def emit(self, batch):
        if self.refusals:
            self.refusals -= 1
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
