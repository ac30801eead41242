"""Pages of metrics, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families


def scraped(page: bytes | str) -> dict[str, float]:
    """Figures of a page, each under its name and labels: `name{a="b",c="d"}`."""
    text = page if isinstance(page, str) else page.decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{sample.labels[name]}"' for name in sorted(sample.labels))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found
            found[key] = sample.value
    return found


def risen(page: bytes | str) -> dict[str, float]:
    """Those that are not zero; of how long things took only how many there were."""
    return {
        key: value
        for key, value in scraped(page).items()
        if value and not key.partition("{")[0].endswith(("_bucket", "_sum"))
    }
