"""API keys: what they open, for how long, and how one takes the place of another."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from vectorflow.domain.access import Access, KeyScope
from vectorflow.errors import Conflict, InvalidInput, NotFound
from vectorflow.ledger import keys
from vectorflow.ledger.database import Database
from vectorflow.ledger.keys import KeyView, NewKey
from vectorflow.testing.ledgers import dump

T = TypeVar("T")

READ_ONLY = [KeyScope.READ]
NOBODY: list[KeyScope] = []


def issue(ledger: Database, name: str = "laptop", tenant: str = "blue", **how: object) -> NewKey:
    make: Callable[[Connection], NewKey] = partial(
        keys.issue_key,
        tenant=tenant,
        name=name,
        **how,  # type: ignore[arg-type]
    )
    return ledger.write_now(make)


def access(ledger: Database, key: NewKey | str) -> Access | None:
    text = key if isinstance(key, str) else key.key
    return ledger.read_now(partial(keys.access_of, key=text))


def rotate(ledger: Database, which: str, overlap: float = 3600.0) -> NewKey:
    make = partial(keys.rotate_key, tenant="blue", which=which, overlap=overlap)
    return ledger.write_now(make)


def revoke(ledger: Database, which: str, tenant: str = "blue") -> list[int]:
    return ledger.write_now(partial(keys.revoke_keys, tenant=tenant, which=which))


def views(ledger: Database) -> list[KeyView]:
    return ledger.read_now(partial(keys.key_list, tenant="blue"))


def an_hour_passes(ledger: Database) -> None:
    ledger.write_now(
        lambda connection: connection.exec_driver_sql(
            "UPDATE api_keys SET revoked_at = revoked_at - 3600, expires_at = expires_at - 3600"
        )
    )


def test_a_key_opens_its_tenant_and_is_kept_nowhere(ledger: Database) -> None:
    key, other = issue(ledger), issue(ledger, tenant="red")

    assert access(ledger, key) == Access(tenant="blue")
    assert access(ledger, other) == Access(tenant="red")
    assert access(ledger, f"{key.key}x") is None
    assert access(ledger, "") is None
    assert key.key not in str(dump(ledger))
    assert key.key not in repr(key)
    assert key.key.startswith("vf_")
    assert len(key.key) == 46


@pytest.mark.parametrize(
    ("scopes", "able"),
    [
        (None, set(KeyScope)),
        ([KeyScope.ADMIN], set(KeyScope)),
        ([KeyScope.EMBED, KeyScope.READ], {KeyScope.EMBED, KeyScope.READ}),
        ([KeyScope.WORK], {KeyScope.WORK}),
        (NOBODY, set()),
    ],
)
def test_a_key_may_do_what_its_scopes_say(
    ledger: Database, scopes: list[KeyScope] | None, able: set[KeyScope]
) -> None:
    found = access(ledger, issue(ledger, scopes=scopes))

    assert found is not None
    assert {scope for scope in KeyScope if found.may(scope)} == able


def test_a_scope_of_a_later_release_allows_nothing_here(ledger: Database) -> None:
    key = issue(ledger, scopes=READ_ONLY)
    ledger.write_now(
        lambda connection: connection.exec_driver_sql(
            """UPDATE api_keys SET scopes = '["read", "delete-all"]'"""
        )
    )

    assert access(ledger, key) == Access(tenant="blue", scopes=frozenset(READ_ONLY))


def test_a_key_expires_by_the_clock_of_the_database(ledger: Database) -> None:
    key = issue(ledger, expires_in=3000.0)
    assert access(ledger, key)
    assert [view.state for view in views(ledger)] == ["good"]

    an_hour_passes(ledger)

    assert access(ledger, key) is None
    assert [view.state for view in views(ledger)] == ["expired"]
    assert not ledger.read_now(partial(keys.has_keys, tenant="blue"))
    assert not ledger.read_now(keys.has_keys)


def test_a_revoked_key_opens_nothing(ledger: Database) -> None:
    key = issue(ledger)
    assert ledger.read_now(partial(keys.has_keys, tenant="blue"))
    assert ledger.read_now(keys.has_keys)
    assert not ledger.read_now(partial(keys.has_keys, tenant="red"))

    assert revoke(ledger, "laptop") == [key.id]

    assert access(ledger, key) is None
    assert [view.state for view in views(ledger)] == ["revoked"]
    assert not ledger.read_now(partial(keys.has_keys, tenant="blue"))


def test_while_keys_are_rotated_the_old_one_is_good_for_the_overlap(ledger: Database) -> None:
    old = issue(ledger, scopes=READ_ONLY, expires_in=90000.0)

    new = rotate(ledger, "laptop", overlap=3000.0)

    assert access(ledger, old) == access(ledger, new)
    first, second = views(ledger)
    assert (first.state, second.state) == ("ending", "good")
    assert (first.name, first.scopes) == (second.name, second.scopes)
    assert first.expires_at == second.expires_at
    an_hour_passes(ledger)
    assert access(ledger, old) is None
    assert access(ledger, new) == Access(tenant="blue", scopes=frozenset(READ_ONLY))


def test_rotating_without_an_overlap_ends_the_old_key_at_once(ledger: Database) -> None:
    old = issue(ledger)

    new = rotate(ledger, str(old.id), overlap=0.0)

    assert access(ledger, old) is None
    assert access(ledger, new)


def test_a_key_that_is_ending_is_not_rotated_again(ledger: Database) -> None:
    old = issue(ledger)
    new = rotate(ledger, "laptop")

    with pytest.raises(NotFound, match=f"no good key '{old.id}'"):
        rotate(ledger, str(old.id))
    newest = rotate(ledger, "laptop")

    assert [view.id for view in views(ledger)] == [old.id, new.id, newest.id]


def test_revoking_a_name_ends_all_its_keys_and_an_id_only_one(ledger: Database) -> None:
    old = issue(ledger)
    new = rotate(ledger, "laptop")

    assert revoke(ledger, str(old.id)) == [old.id]
    assert access(ledger, new)
    newest = rotate(ledger, "laptop")
    assert revoke(ledger, "laptop") == [new.id, newest.id]

    assert not any(access(ledger, key) for key in (old, new, newest))


@pytest.mark.parametrize("which", ["nobody", "0", "99", "9" * 40, ""])
def test_a_key_that_is_not_there_is_neither_rotated_nor_revoked(
    ledger: Database, which: str
) -> None:
    key = issue(ledger)

    with pytest.raises(NotFound, match="no good key"):
        rotate(ledger, which)
    with pytest.raises(NotFound, match="no good key"):
        revoke(ledger, which)
    assert access(ledger, key)


def test_nobody_reaches_a_key_of_another_tenant(ledger: Database) -> None:
    key = issue(ledger, tenant="red")

    with pytest.raises(NotFound):
        rotate(ledger, str(key.id))
    with pytest.raises(NotFound):
        revoke(ledger, "laptop")
    assert views(ledger) == []
    assert access(ledger, key)


def test_two_good_keys_have_different_names(ledger: Database) -> None:
    issue(ledger)
    with pytest.raises(Conflict, match="named 'laptop' already"):
        issue(ledger)

    revoke(ledger, "laptop")

    assert access(ledger, issue(ledger))


def test_where_two_were_made_at_once_only_an_id_tells_which_to_rotate(ledger: Database) -> None:
    first, second = issue(ledger), issue(ledger, "other")
    ledger.write_now(
        lambda connection: connection.exec_driver_sql("UPDATE api_keys SET name = 'laptop'")
    )

    with pytest.raises(Conflict, match=f"2 keys are named .* by its id: {first.id}, {second.id}"):
        rotate(ledger, "laptop")

    assert access(ledger, rotate(ledger, str(second.id)))


@pytest.mark.parametrize("name", ["", "  ", "17", "two\nlines", "x" * 65])
def test_a_name_is_short_printable_and_no_number(ledger: Database, name: str) -> None:
    with pytest.raises(InvalidInput, match="name of a key"):
        issue(ledger, name)


def test_the_first_key_is_made_once(ledger: Database) -> None:
    make = partial(keys.issue_first_key, tenant="blue", name="first")

    key = ledger.write_now(make)
    assert ledger.write_now(make) is None

    assert key
    assert access(ledger, key) == Access(tenant="blue")
