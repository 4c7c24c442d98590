"""The label store's tables. Rows are only ever added: a correction or a withdrawal is a new row in `votes`.

- `comparisons`: a prompt that was answered several times, to be judged;
- `candidates`: which checkpoint answers, with which settings and seed (stored before it starts to answer);
- `answers`: what it answered;
- `showings`: who is shown a comparison, in which order of sides (stored before the person sees it);
- `votes`: what the person chose, by side as clicked.

A comparison may have more than two candidates and be shown to several people, each in an order of their own. Times are
ISO 8601 in UTC. Left out: people's accounts, migrations (a store of a later version is refused).
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    event,
)

VERSION = 1

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created", String(32), nullable=False),
)
comparisons = Table(
    "comparisons",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created", String(32), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("prompt_hash", String(64), nullable=False, index=True),
    Column("source", String(20), nullable=False),
)
candidates = Table(
    "candidates",
    metadata,
    Column("comparison", ForeignKey("comparisons.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("checkpoint", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
)
answers = Table(
    "answers",
    metadata,
    Column("comparison", ForeignKey("comparisons.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created", String(32), nullable=False),
    Column("text", Text, nullable=False),
)
showings = Table(
    "showings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created", String(32), nullable=False),
    Column("comparison", ForeignKey("comparisons.id"), nullable=False, index=True),
    Column("person", Text, nullable=False),
    Column("order", JSON, nullable=False),
    Column("guideline", String(64), nullable=False),
)
votes = Table(
    "votes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("created", String(32), nullable=False),
    Column("key", String(120), nullable=False, unique=True),
    Column("showing", ForeignKey("showings.id"), nullable=False, index=True),
    Column("person", Text, nullable=False, index=True),
    Column("withdrawn", Boolean, nullable=False),
    Column("choice", String(20), nullable=False),
    Column("strength", Integer),
    Column("note", Text, nullable=False),
    Column("edited", Text, nullable=False),
    Column("seconds", Float),
    sqlite_autoincrement=True,
)


def _forbid_changes(table: Table) -> None:
    """Let SQLite itself refuse to change or delete a row, whoever asks."""
    for verb in ("UPDATE", "DELETE"):
        trigger = DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            "BEGIN SELECT RAISE(ABORT, 'the label store is append-only'); END"
        )
        event.listen(table, "after_create", trigger.execute_if(dialect="sqlite"))


for _table in (comparisons, candidates, answers, showings, votes):
    _forbid_changes(_table)
