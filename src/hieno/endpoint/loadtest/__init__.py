"""How much an endpoint can serve: arrivals, measurements, a picture, and the sizing answer."""

from hieno.endpoint.loadtest.run import Report, loadtest

__all__ = ["Report", "loadtest"]
