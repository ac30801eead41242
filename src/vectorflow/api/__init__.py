"""The HTTP API, on FastAPI: what a server needs comes in as a `Backend`."""
