"""Column types that mean the same in each database."""

from sqlalchemy import JSON, VARBINARY, BigInteger, Integer, String, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

Json = JSON(none_as_null=True)
Id = BigInteger().with_variant(Integer, "sqlite")

IDS = bindparam("ids", type_=Id, expanding=True)
"""Given to a statement as it runs. Hot ones are made once: that takes as long as to run one."""


class Name(TypeDecorator[str]):
    """A long name that is part of a key: so many characters.

    MariaDB keeps it in so many bytes, since a key of its may have 3072 of them and it counts four
    for each character.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int, *, size: int) -> None:
        super().__init__(length)
        self.size = size

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Choose how this database keeps it."""
        kept = VARBINARY(self.size) if dialect.name == "mariadb" else self.impl_instance
        return dialect.type_descriptor(kept)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | bytes | None:
        """Write."""
        return value.encode() if value is not None and dialect.name == "mariadb" else value

    def process_result_value(self, value: str | bytes | None, dialect: Dialect) -> str | None:
        """Read."""
        del dialect
        return value.decode() if isinstance(value, bytes) else value


Scope = Name(256, size=1024)
ExternalId = Name(1024, size=2000)
