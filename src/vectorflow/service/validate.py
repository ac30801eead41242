"""Let a hook of the user's keep, change or drop the chunks of a stretch, before it is committed."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from vectorflow.domain.documents import canonical_json
from vectorflow.ports.hooks import Candidate, Valid
from vectorflow.service.cut import Stretch

Validate = Callable[[Sequence[Candidate]], Awaitable[Sequence[Valid]]]


async def validated(
    stretch: Stretch, name: uuid.UUID, validate: Validate, count: Callable[[str], int]
) -> Stretch:
    """Ask about the chunks of a stretch; what was dropped is left out, what it covers stays.

    Offsets are those of the chunk as it was cut, also where its text was changed.

    Args:
        stretch: As it was cut.
        name: Names this stretch, the same on a retry.
        validate: Raises HookRefused, Transient.
        count: Tokens of a text.
    """
    ids = [str(uuid.uuid5(name, str(place))) for place in range(len(stretch.texts))]
    candidates = [
        Candidate(chunk_id=key, text=text) for key, text in zip(ids, stretch.texts, strict=True)
    ]
    places = {key: place for place, key in enumerate(ids)}
    kept = [(places[valid.chunk_id], valid) for valid in await validate(candidates)]
    counts = await asyncio.to_thread(
        lambda: [
            stretch.tokens[place] if valid.text == stretch.texts[place] else count(valid.text)
            for place, valid in kept
        ]
    )
    return replace(
        stretch,
        texts=[valid.text for _, valid in kept],
        starts=[stretch.starts[place] for place, _ in kept],
        ends=[stretch.ends[place] for place, _ in kept],
        tokens=counts,
        extras=[_joined(stretch.extras[place], valid.extra) for place, valid in kept],
        pages=[stretch.pages[place] for place, _ in kept],
        headings=[stretch.headings[place] for place, _ in kept],
    )


def _joined(extra: str | None, said: Mapping[str, object]) -> str | None:
    """Add what the hook said of a chunk to what its document says of itself; the hook wins."""
    if not said:
        return extra
    own: dict[str, object] = json.loads(extra) if extra else {}
    return canonical_json(own | dict(said))
