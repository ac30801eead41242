"""The JSON of requests and answers, in the names that clients use."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from vectorflow.errors import InvalidInput

T = TypeVar("T")

MAX_JOB_ID = (1 << 63) - 1
MAX_JOB_IDS = 1000


class EmbeddingsMetadata(BaseModel):
    """How to cut and embed; what is not known here is left alone."""

    model_config = ConfigDict(extra="ignore")

    embeddings_type: str
    chunk_size: int | None = Field(None, ge=1, le=1 << 31)
    chunk_overlap: int | None = Field(None, ge=0, le=1 << 31)
    chunk_strategy: str | None = None
    model: str | None = None
    hugging_face_model_name: str | None = None


class VectorDBMetadata(BaseModel):
    """Where the records go."""

    model_config = ConfigDict(extra="ignore")

    vector_db_type: str
    index_name: str
    environment: str | None = None
    collection: str | None = None


class JobIds(BaseModel):
    """A question about several jobs."""

    model_config = ConfigDict(extra="ignore")

    ids: list[Annotated[int, Field(strict=True)]] = Field(
        validation_alias="JobIDs", min_length=1, max_length=MAX_JOB_IDS
    )


class Embedded(BaseModel):
    """An upload is durable and will be embedded."""

    message: str
    job: int = Field(serialization_alias="JobID")


class FilesProcessed(BaseModel):
    """What became of the files of one request."""

    message: str
    successful_uploads: dict[str, int]
    """File name -> job."""
    failed_uploads: list[str]
    empty_files_count: int
    duplicate_files_count: int


class JobStatus(BaseModel):
    """How one job stands."""

    status: str = Field(serialization_alias="JobStatus")


class JobAndStatus(BaseModel):
    """How one of several jobs stands."""

    job: int = Field(serialization_alias="JobID")
    status: str = Field(serialization_alias="JobStatus")


class JobStatuses(BaseModel):
    """How several jobs stand."""

    jobs: list[JobAndStatus] = Field(serialization_alias="Jobs")


class Health(BaseModel):
    """What a probe is told."""

    status: str = "ok"


_METADATA = TypeAdapter(
    dict[str, JsonValue], config=ConfigDict(allow_inf_nan=False, str_max_length=1 << 16)
)
_MAX_INTEGER = (1 << 63) - 1


def read_json(type_: type[T], name: str, text: str | bytes) -> T:
    """Read JSON from the wire.

    Raises:
        InvalidInput: Names the place and what is wrong there, without what was sent.
    """
    try:
        return TypeAdapter(type_).validate_json(text)
    except ValidationError as error:
        raise _refused(name, error) from None  # the cause quotes what was sent


def read_metadata(name: str, text: str) -> dict[str, JsonValue]:
    """Read a JSON object that is kept on every record.

    Raises:
        InvalidInput: It is none, or holds what some store could not keep.
    """
    try:
        found = _METADATA.validate_json(text)
    except ValidationError as error:
        raise _refused(name, error) from None  # the cause quotes what was sent
    if not _is_storable(found):
        message = f"{name} holds a number beyond 64 bits, NaN, or a NUL character"
        raise InvalidInput(message, fix="send such values as other strings")
    return found


def _is_storable(value: JsonValue) -> bool:
    """Whether every database and every store can keep it; depth was bounded by the parser."""
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_storable, value))
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, int | float):
        return abs(value) <= _MAX_INTEGER or (isinstance(value, float) and value - value == 0)
    return True


def _refused(name: str, error: ValidationError) -> InvalidInput:
    mistakes = error.errors(include_input=False, include_url=False, include_context=False)
    where = ".".join([name, *map(str, mistakes[0]["loc"])])[:200]
    if mistakes[0]["type"] == "json_invalid":
        return InvalidInput(f"{where} is not JSON", fix="send a JSON object")
    return InvalidInput(f"{where}: {mistakes[0]['msg'].lower()}", fix="mend it and send it again")
