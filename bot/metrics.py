"""What the service counts, for Prometheus: one registry a service, so that many may live in one process."""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one service. Others add theirs with `registry=metrics.registry`; names start with `kefu_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="kefu", registry=self.registry)
        self.requests = Counter(
            "kefu_http_requests_total", "HTTP requests", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "kefu_http_request_seconds", "Time to answer a request", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.search_seconds = Histogram(
            "kefu_search_seconds", "Time of one search", buckets=SECONDS, registry=self.registry
        )
        self.units = Gauge("kefu_knowledge_units", "Entries and passages served", registry=self.registry)
        self.revision = Gauge("kefu_knowledge_revision", "Revision of the knowledge served", registry=self.registry)
        self.channel_messages = Counter(
            "kefu_channel_messages_total", "Messages from channels", ["channel", "kind"], registry=self.registry
        )
        self.channel_deliveries = Counter(
            "kefu_channel_deliveries_total", "Attempts to deliver to channels", ["outcome"], registry=self.registry
        )
        self.ready = Gauge("kefu_ready", "Whether models and index are loaded", registry=self.registry)


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
