"""What a storm prints."""

from collections.abc import Mapping, Sequence

from tests.storm.checks import Evidence, Row
from tests.storm.site import Options


def facts(evidence: Evidence) -> dict[str, object]:
    """The faults that were really injected, and what met them."""
    weather, answers = evidence.weather, evidence.stats["by_status"]
    by_status: Mapping[str, int] = answers if isinstance(answers, dict) else {}
    calls = max(1, sum(by_status.values()))
    refused = {status: by_status.get(status, 0) for status in ("429", "500")}
    restarts: object = weather.struck["restarts"]
    return {
        "workers killed": weather.struck["kills"],
        "workers that stood still past their lease": weather.struck["freezes"],
        "database restarts": restarts if evidence.site.shared else "none: SQLite has no server",
        "provider calls": calls,
        "answered 429": f"{refused['429']} ({refused['429'] / calls:.0%})",
        "answered 500": f"{refused['500']} ({refused['500'] / calls:.0%})",
        "seconds the store was away": round(weather.away_seconds, 1),
        "connections the store refused": evidence.site.gate.refused,
        "uploads sent again": evidence.uploads.sent - evidence.uploads.accepted,
        "submitting processes that broke off": len(evidence.folder.broken),
        "broker purges": weather.struck["purges"] if evidence.site.broker else "none: no broker",
        "messages purged": weather.struck["messages purged"],
    }


def table(options: Options, faults: Mapping[str, object], rows: Sequence[Row]) -> str:
    """Lay it out for people."""
    width = max(len(row.what) for row in rows)
    parties = f"{options.database}, broker {options.broker}"
    lines = [f"storm  {parties}, {options.documents:,} documents, seed {options.seed}", ""]
    lines += [f"{name:<45}{value}" for name, value in faults.items()]
    lines += [""]
    lines += [
        f"{'held' if row.held else 'BROKEN':<8}{row.what:<{width + 2}}{row.figure}" for row in rows
    ]
    broken = sum(not row.held for row in rows)
    verdict = f"{broken} of {len(rows)} invariants are broken" if broken else "all invariants hold"
    return "\n".join([*lines, "", verdict, ""])
