"""Settings -> the blobs of a ledger."""

from functools import partial

from vectorflow.adapters._folder_owner import Owner
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.ledger import blob_names, claims
from vectorflow.ledger.database import Database
from vectorflow.settings import Settings


def make_blobs(settings: Settings, database: Database) -> FileBlobStore:
    """Make the store in the data directory, for a thread: it asks the ledger for its id."""
    owner = Owner(
        id=database.read_now(claims.ledger_id),
        needed=partial(database.read_now, blob_names.some_needed),
        knows=lambda keys: database.read_now(partial(blob_names.names_one, keys=keys)),
    )
    return FileBlobStore(settings.data_dir / "blobs", owner)
