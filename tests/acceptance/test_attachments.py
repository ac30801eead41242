"""Files with files inside: real processes, killed on their way, end with what is there."""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import corpus
from tests.acceptance.bundles import Bundle, install_plugin
from tests.acceptance.kill_site import Process, Site, wait_for
from vectorflow.cli.exit_codes import PARTIAL
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = pytest.mark.slow

LEASE = ["--lease", "3"]


@dataclass(slots=True)
class Mailbox:
    """A site whose files are bundles and texts."""

    site: Site
    bundles: dict[str, Bundle] = field(default_factory=dict[str, Bundle])

    def put(self, bundles: Mapping[str, Bundle]) -> None:
        """Write bundles and expect all that is in them."""
        self.drop(*bundles.keys() & self.bundles.keys())
        corpus.write(self.site.docs, {name: one.written for name, one in bundles.items()})
        self.bundles |= bundles
        for name, one in bundles.items():
            self.site.texts |= dict(one.texts(name))

    def drop(self, *names: str) -> None:
        """Delete bundles and expect nothing of them."""
        for name in names:
            (self.site.docs / name).unlink()
            for text, _ in self.bundles.pop(name).texts(name):
                del self.site.texts[text]

    def embed(self, *flags: str, status: int = 0) -> dict[str, Any]:
        """Embed the folder in a process, to the end; gives its report."""
        process = self.site.start("embed", str(self.site.docs), "--json", *flags)
        assert process.wait() == status, process.said()
        said = process.said()
        report, _ = json.JSONDecoder().raw_decode(said, said.index("{\n"))
        return dict(report)


def mail(seed: object, words: int = 40, **attached: "str | Bundle") -> Bundle:
    inside = {f"{key}.txt": one for key, one in attached.items()}
    return Bundle(corpus.made_text(seed, words), inside)


def letters(count: int) -> dict[str, Bundle]:
    """Mails with a text, a mail in them, and what is in that."""
    return {
        f"in/{number}.bundle": Bundle(
            corpus.made_text(f"mail{number}", 30),
            {
                "notes.txt": corpus.made_text(f"notes{number}", 50),
                "inner.bundle": mail(f"inner{number}", a=corpus.made_text(f"a{number}", 20)),
            },
        )
        for number in range(count)
    }


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    monkeypatch.setenv("PYTHONPATH", install_plugin(tmp_path / "plugin"))
    return Mailbox(Site(root=tmp_path / "site", options={"chunking.size": 16}))


@pytest.fixture
def filled(mailbox: Mailbox) -> Mailbox:
    mailbox.put(letters(12))
    report = mailbox.embed()
    assert (report["status"], report["new"], report["documents"]) == ("completed", 48, 12)
    mailbox.site.check()
    return mailbox


def test_the_same_folder_again_embeds_and_deletes_nothing(filled: Mailbox) -> None:
    report = filled.embed()

    assert (report["status"], report["unchanged"], report["gone"]) == ("completed", 12, 0)
    assert (report["new"], report["changed"], report["embedding_calls"]) == (0, 0, 0)
    filled.site.check()


def test_only_what_changed_inside_of_a_file_is_done(filled: Mailbox) -> None:
    name = "in/3.bundle"
    before = filled.bundles[name]
    new_notes = corpus.made_text("other notes", 60)
    changed = {"notes.txt": new_notes, "inner.bundle": before.attached["inner.bundle"]}
    filled.put({name: Bundle(before.text, changed)})

    report = filled.embed()

    assert (report["changed"], report["new"], report["gone"]) == (2, 0, 0)
    filled.site.check()
    again = filled.embed()
    assert (again["changed"], again["embedding_calls"]) == (0, 0)


def test_what_is_taken_out_of_a_file_is_deleted_with_all_in_it(filled: Mailbox) -> None:
    name = "in/3.bundle"
    before = filled.bundles[name]
    filled.put({name: Bundle(before.text, {"notes.txt": before.attached["notes.txt"]})})

    report = filled.embed()

    assert (report["changed"], report["gone"], report["embedding_calls"]) == (1, 2, 0)
    filled.site.check()


def test_with_a_file_all_that_was_in_it_is_deleted(filled: Mailbox) -> None:
    filled.drop("in/0.bundle", "in/11.bundle")

    report = filled.embed()

    assert (report["gone"], report["unchanged"], report["embedding_calls"]) == (8, 10, 0)
    filled.site.check()


def test_a_file_that_breaks_keeps_what_was_in_it(filled: Mailbox) -> None:
    (filled.site.docs / "in/3.bundle").write_text("{broken")

    report = filled.embed(status=PARTIAL)

    assert (report["status"], report["failed"], report["gone"]) == ("partial", 1, 0)
    filled.site.check()


def test_a_file_without_text_of_its_own_is_only_what_is_in_it(mailbox: Mailbox) -> None:
    mailbox.put({"box.bundle": Bundle("", {"a.txt": corpus.made_text("a", 30)})})

    report = mailbox.embed()

    assert (report["status"], report["new"]) == ("completed", 2)
    again = mailbox.embed()
    assert (again["unchanged"], again["embedding_calls"]) == (1, 0)


def test_what_nobody_reads_is_told_once_and_does_not_cost_the_file(mailbox: Mailbox) -> None:
    logo = "GIF89a" + "\0" * 64
    mailbox.put({"a.bundle": mail("a", note=corpus.made_text("n", 20))})
    broken = Bundle(mailbox.bundles["a.bundle"].text, {"logo.gif": logo})
    (mailbox.site.docs / "a.bundle").write_text(broken.written)

    report = mailbox.embed(status=PARTIAL)

    assert (report["status"], report["new"], report["failed"]) == ("partial", 2, 1)
    (letter,) = report["failures"]
    assert (letter["external_id"], letter["code"]) == ("a.bundle//logo.gif", "unsupported_format")
    again = mailbox.embed()
    assert (again["status"], again["unchanged"]) == ("completed", 1)


@pytest.mark.parametrize(
    ("seam", "nth"),
    [
        ("put:attached", 1),
        ("put:manifests", 1),
        ("transaction:commit_parts", 1),
        ("commit:commit_parts", 1),
        ("transaction:finish.extract", 1),
        ("commit:finish.extract", 1),
        ("commit:finish.extract", 2),
        ("upserting", 1),
        ("commit:finish.embed", 1),
    ],
)
def test_a_first_embed_killed_anywhere_ends_complete(mailbox: Mailbox, seam: str, nth: int) -> None:
    mailbox.put(letters(40))

    mailbox.site.run_killed(seam, nth)

    assert mailbox.embed()["status"] == "completed"
    mailbox.site.check()


def test_a_long_file_killed_between_its_parts_is_attached_to_once(mailbox: Mailbox) -> None:
    long = corpus.made_text("long", 75_000)
    inside = {name: corpus.made_text(name, 30) for name in ("a.txt", "b.txt", "c.txt")}
    mailbox.put({"long.bundle": Bundle(long, inside)})

    mailbox.site.run_killed("commit:commit_parts")

    assert mailbox.embed()["status"] == "completed"
    mailbox.site.check()
    assert mailbox.embed()["unchanged"] == 1


@pytest.mark.parametrize(
    "seam",
    [
        "put:attached",
        "transaction:finish.extract",
        "commit:finish.extract",
        "transaction:delete_documents",
        "commit:delete_documents",
        "upserted",
        "deleting",
    ],
)
def test_a_sync_killed_anywhere_ends_with_what_is_there(filled: Mailbox, seam: str) -> None:
    for number in range(3):
        before = filled.bundles[f"in/{number}.bundle"]
        notes = corpus.made_text(f"changed{number}", 40)
        filled.put({f"in/{number}.bundle": Bundle(before.text, {"notes.txt": notes})})
    filled.drop("in/8.bundle")
    filled.put({"in/new.bundle": mail("new", one=corpus.made_text("one", 30))})

    filled.site.run_killed(seam)

    assert filled.embed()["status"] == "completed"
    filled.site.check()


@pytest.fixture
def shared(mailbox: Mailbox, postgres_database: str) -> Mailbox:
    """Workers that share a ledger in PostgreSQL; their leases are short."""
    mailbox.site.options["database.url"] = postgres_database
    database = Database(postgres_database)
    schema.upgrade(database)
    database.close()
    return mailbox


@pytest.mark.timeout(300)
def test_a_worker_killed_in_the_middle_of_a_mail_is_replaced(shared: Mailbox) -> None:
    site = shared.site
    shared.put(letters(40))
    killed = site.start("worker", seam="put:attached", flags=LEASE)
    site.run_killed("commit:end_listing", flags=LEASE)
    assert killed.wait() == -signal.SIGKILL
    others: list[Process] = []
    try:
        others += [site.start("worker", flags=LEASE) for _ in range(2)]
        wait_for(lambda: not site.is_busy(), "the end of all jobs", *others)
    finally:
        for worker in others:
            worker.wait_until_it_says("worker_started")
            worker.send(signal.SIGTERM)
    assert [worker.wait() for worker in others] == [0, 0]
    site.check()
