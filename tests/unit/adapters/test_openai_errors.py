from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters._openai_errors import (
    LONGEST_WAIT,
    Refusal,
    error_of,
    seconds_of,
    wait_of,
)
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    KeyRefused,
    NotServed,
    Throttled,
    TooMuchAtOnce,
    Transient,
    Unavailable,
    VectorFlowError,
)

SPOKEN = "sk-secret-and-the-text-of-a-document"


def refusal(
    status: int,
    error: Mapping[str, object] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    texts: int = 3,
) -> Refusal:
    return Refusal(
        host="api.example", status=status, headers=headers or {}, error=error or {}, texts=texts
    )


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 520, 529])
def test_what_may_work_later_is_unavailable(status: int) -> None:
    error = error_of(refusal(status, headers={"retry-after": "7"}))

    assert type(error) is Unavailable
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("status", "given", "says"),
    [
        (401, {}, "does not accept this key"),
        (403, {}, "does not accept this key"),
        (402, {}, "out of credit"),
        (429, {"code": "insufficient_quota"}, "out of credit"),
        (429, {"type": "insufficient_quota", "code": None}, "out of credit"),
        (429, {"code": "billing_hard_limit_reached"}, "out of credit"),
        (400, {"code": "billing_not_active"}, "out of credit"),
    ],
)
def test_a_refused_key_is_permanent(status: int, given: Mapping[str, object], says: str) -> None:
    error = error_of(refusal(status, given))

    assert type(error) is KeyRefused
    assert says in str(error)


@pytest.mark.parametrize(
    ("status", "given", "texts"),
    [
        (413, {}, 2),
        (400, {"code": "max_tokens_per_request"}, 2),
        (400, {"message": "Requested 300001 tokens, max 300000 tokens per request"}, 2),
        (400, {"message": "Invalid 'input': array too long. Expected 2048", "param": "input"}, 2),
        (422, {"message": "batch size 64 > maximum allowed batch size 32"}, 64),
        (400, {"message": "Requested too many inputs"}, 2),
        (429, {"message": "Request too large for m on tokens per min: Limit 1, Requested 2"}, 2),
        (429, {"message": "Request too large for m on tokens per min: Limit 1, Requested 2"}, 1),
        # One of several is too long, and nobody says which.
        (400, {"message": "This model's maximum context length is 8192 tokens, however"}, 2),
        (422, {"message": "`inputs` must have less than 512 tokens. Given: 600"}, 2),
        (400, {"message": "something about it", "param": "input"}, 2),
    ],
)
def test_what_halves_may_pass_is_too_much_at_once(
    status: int, given: Mapping[str, object], texts: int
) -> None:
    assert type(error_of(refusal(status, given, texts=texts))) is TooMuchAtOnce


@pytest.mark.parametrize(
    ("status", "given", "texts", "position"),
    [
        (400, {"message": "This model's maximum context length is 8192 tokens"}, 1, 0),
        (413, {"message": "must have less than 512 tokens"}, 1, 0),
        (422, {}, 1, 0),
        (400, {"message": "whatever", "param": "input"}, 1, 0),
        (400, {"message": "Invalid 'input[2]': too long"}, 3, 2),
        (400, {"message": "too long", "param": "input[1]"}, 3, 1),
        (400, {"message": "'$.input[0]' is invalid"}, 3, 0),
        (422, {"param": "body.input.1"}, 3, 1),
    ],
)
def test_a_text_that_is_to_blame_is_a_bad_chunk(
    status: int, given: Mapping[str, object], texts: int, position: int
) -> None:
    error = error_of(refusal(status, given, texts=texts))

    assert isinstance(error, BadChunk)
    assert error.position == position


@pytest.mark.parametrize(
    ("status", "given"),
    [(404, {"code": "model_not_found"}), (301, {}), (307, {}), (405, {}), (204, {})],
)
def test_what_is_not_served_there_is_for_an_operator_to_mend(
    status: int, given: Mapping[str, object]
) -> None:
    assert type(error_of(refusal(status, given, texts=1))) is NotServed


@pytest.mark.parametrize(
    ("status", "given", "texts"),
    [
        (400, {"param": "dimensions"}, 1),
        (400, {"param": "model"}, 3),
        (400, {"message": "we do not like it"}, 3),
        (400, {"message": "Invalid 'input[3]'"}, 3),
    ],
)
def test_all_else_is_a_refused_call(status: int, given: Mapping[str, object], texts: int) -> None:
    assert type(error_of(refusal(status, given, texts=texts))) is CallRefused


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "3"}, "", 3),
        ({"retry-after": "0"}, "", 0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": "3", "retry-after-ms": "2800"}, "", 2.8),
        ({"retry-after": "-5"}, "", 0),
        ({"retry-after": "86400"}, "", LONGEST_WAIT),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({}, "", None),
        ({}, "Please try again in 2.812s. Visit us.", 2.812),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "Please try again in 1m6s.", 66),
        ({}, "Please retry after 12 seconds.", 12),
        ({}, "Please try again in a while.", None),
        ({"x-ratelimit-reset-requests": "1s"}, "", 1),
        ({"x-ratelimit-reset-tokens": "250ms"}, "", 0.25),
        ({"x-ratelimit-reset-tokens": "6m0s"}, "", LONGEST_WAIT),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "8.64s",
                "x-ratelimit-remaining-tokens": "100",
                "x-ratelimit-reset-tokens": "1m30s",
            },
            "",
            8.64,
        ),
        ({"x-ratelimit-reset-requests": "9s", "x-ratelimit-reset-tokens": "2s"}, "", 2),
        ({"x-ratelimit-reset-requests": "tomorrow"}, "", None),
        ({"x-ratelimit-reset-requests": "9s"}, "try again in 2s", 2),
    ],
)
def test_the_wait_is_read_wherever_it_is_told(
    headers: Mapping[str, str], message: str, seconds: float | None
) -> None:
    error = error_of(refusal(429, {"message": message}, headers=headers))

    assert isinstance(error, Throttled)
    assert error.retry_after == (None if seconds is None else pytest.approx(seconds))


def test_the_wait_may_be_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    before = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)

    assert wait_of(refusal(429, headers={"retry-after": later})) == pytest.approx(30, abs=2)
    assert wait_of(refusal(429, headers={"retry-after": before})) == 0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("250ms", 0.25),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("8.64s", 8.64),
        ("", None),
        ("5", None),
        ("1s later", None),
    ],
)
def test_durations_are_read(written: str, seconds: float | None) -> None:
    assert seconds_of(written) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(), st.text())
def test_no_header_is_too_odd_to_be_read(one: str, other: str) -> None:
    headers = {"retry-after": one, "retry-after-ms": other, "x-ratelimit-reset-tokens": one}

    wait = wait_of(refusal(429, {"message": f"try again in {other}"}, headers=headers))

    assert wait is None or 0 <= wait <= LONGEST_WAIT


@given(st.integers(201, 599), st.integers(1, 9))
def test_no_message_repeats_what_the_provider_said(status: int, texts: int) -> None:
    said = {"message": SPOKEN, "code": SPOKEN, "type": SPOKEN, "param": SPOKEN}

    error = error_of(refusal(status, said, headers={"x-secret": SPOKEN}, texts=texts))

    assert isinstance(error, VectorFlowError)
    assert SPOKEN not in str(error) + repr(error)
    assert "api.example" in str(error)
    assert isinstance(error, Transient) == (status in {408, 409, 425, 429} or status >= 500)
