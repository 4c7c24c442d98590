"""The label store: comparisons, who was shown them in which order, and votes; append-only, safe for many writers.

SQLite by default (write-ahead log, `synchronous=FULL`: a vote is on disk before `vote` returns), any other database by
its SQLAlchemy URL. The client makes a key for each vote; a repeated request finds its key and stores nothing new. The
present state is never stored but always replayed from the rows (`replay.py`).

Left out: accounts, leases on items, migrations.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exists, func, insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError

from data_prep.feedback import tables
from data_prep.records import Message
from recipes.errors import UserError

CHOICES = ("left", "right", "tie", "both_bad")
STRENGTHS = (1, 2, 3)
BUSY_SECONDS = 30.0
LONGEST = 20_000


class Refused(ValueError):
    """A request that the store does not take; the message may be shown to the person who made it."""


@dataclass(frozen=True)
class Candidate:
    """Who answers: a checkpoint by name and content hash, its sampling settings and seed."""

    checkpoint: str
    content: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Showing:
    """A comparison as one person sees it: `order[side]` is the number of the candidate on that side (0 is left)."""

    id: str
    comparison: str
    person: str
    order: list[int]
    prompt: list[Message]
    answers: list[str | None]

    def sides(self) -> list[str | None]:
        """Return the answers from left to right; None for one that is not finished."""
        return [self.answers[number] for number in self.order]


@dataclass(frozen=True)
class Vote:
    """What a person chose; `key` is made by the client, once for each vote that it means."""

    showing: str
    person: str
    choice: str
    key: str
    strength: int | None = None
    note: str = ""
    edited: str = ""
    withdrawn: bool = False


def now() -> str:
    """Return the time in UTC, ISO 8601 with microseconds: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def prompt_hash(prompt: Sequence[Message]) -> str:
    """Return the hash by which prompts are compared: roles and texts, spaces and case left out."""
    turns = [[turn["role"], " ".join(turn["content"].casefold().split())] for turn in prompt]
    return hashlib.sha256(json.dumps(turns).encode("utf-8")).hexdigest()


class Store:
    """An open label store."""

    def __init__(self, place: str, *, create: bool = True) -> None:
        """Open the store in a file, or at an SQLAlchemy URL; an empty one is set up if `create`.

        Raises:
            UserError: there is no store, or what is there is not one, or a later version made it.
        """
        self.place = place
        self.engine = _engine(place, create)
        self._writing = self.engine.execution_options(writes=True)
        try:
            if create:
                with self._writing.begin() as connection:
                    _set_up(connection)
            with self.engine.begin() as connection:
                _check_version(connection, place)
        except DatabaseError as error:
            reason = str(error.orig or error).splitlines()[0]
            raise UserError(_shown(place), f"cannot be used as a label store ({reason})", "name another file") from None

    def close(self) -> None:
        """Give up all connections."""
        self.engine.dispose()

    def compare(self, prompt: Sequence[Message], who: Sequence[Candidate], *, source: str = "") -> str:
        """Store a new comparison before anyone answers; return its id."""
        identity = uuid.uuid4().hex
        row = {"id": identity, "created": now(), "prompt": list(prompt), "prompt_hash": prompt_hash(prompt)}
        entries = [
            {"comparison": identity, "number": number, **_columns(candidate)} for number, candidate in enumerate(who)
        ]
        with self._writing.begin() as connection:
            connection.execute(insert(tables.comparisons), {**row, "source": source})
            connection.execute(insert(tables.candidates), entries)
        return identity

    def answer(self, comparison: str, texts: Sequence[str]) -> None:
        """Store the answers of all candidates, in their order."""
        rows = [
            {"comparison": comparison, "number": number, "created": now(), "text": text}
            for number, text in enumerate(texts)
        ]
        with self._writing.begin() as connection:
            connection.execute(insert(tables.answers), rows)

    def show(self, comparison: str, person: str, *, guideline: str = "", rng: random.Random | None = None) -> Showing:
        """Shuffle the sides for one person and store their order; only then is there something to show."""
        identity = uuid.uuid4().hex
        with self._writing.begin() as connection:
            numbers = connection.scalars(_numbers(comparison)).all()
            order = (rng or random.SystemRandom()).sample(list(numbers), len(numbers))
            row = {"id": identity, "created": now(), "comparison": comparison, "person": person, "order": order}
            connection.execute(insert(tables.showings), {**row, "guideline": guideline})
        return self.showing(identity)

    def showing(self, identity: str) -> Showing:
        """Return what was shown under this id.

        Raises:
            Refused: there is no such showing.
        """
        with self.engine.begin() as connection:
            return _showing(connection, identity)

    def vote(self, vote: Vote) -> bool:
        """Store a vote; return False when its key is already there with the same vote. On disk when this returns.

        A further vote of the same person on the same showing replaces the earlier one; `withdrawn` takes it back.

        Raises:
            Refused: unknown showing, someone else's, answers missing, an impossible value, or a key used otherwise.
        """
        _check(vote)
        try:
            with self._writing.begin() as connection:
                return self._vote(connection, vote)
        except IntegrityError:  # another process stored the same key in between (databases other than SQLite)
            with self._writing.begin() as connection:
                return self._vote(connection, vote)

    def _vote(self, connection: Connection, vote: Vote) -> bool:
        known = connection.execute(select(tables.votes).where(tables.votes.c.key == vote.key)).mappings().first()
        if known:
            if (known["showing"], known["person"], known["choice"]) != (vote.showing, vote.person, vote.choice):
                raise Refused(f"this pair was already judged ({known['choice'].replace('_', ' ')})")
            return False
        shown = _showing(connection, vote.showing)
        if shown.person != vote.person:
            raise Refused("this pair was shown to someone else")
        if None in shown.answers:
            raise Refused("the answers are not finished yet")
        seconds = _seconds_since(connection, shown)
        connection.execute(insert(tables.votes), {**vars(vote), "created": now(), "seconds": seconds})
        return True

    def candidates(self, comparison: str) -> list[Candidate]:
        """Return who answers in a comparison. Not for the people who judge it."""
        columns = tables.candidates.c
        query = select(columns.checkpoint, columns.content, columns.settings, columns.seed)
        with self.engine.begin() as connection:
            rows = connection.execute(query.where(columns.comparison == comparison).order_by(columns.number))
            return [Candidate(*row) for row in rows.tuples()]

    def choice(self, showing: str) -> str:
        """Return the last choice on a showing; empty if there is none or it was withdrawn."""
        columns = tables.votes.c
        query = select(columns.choice, columns.withdrawn).where(columns.showing == showing).order_by(columns.id.desc())
        with self.engine.begin() as connection:
            row = connection.execute(query.limit(1)).first()
        return "" if row is None or row.withdrawn else str(row.choice)

    def judged(self, person: str) -> int:
        """Return how many showings a person has voted on."""
        chosen = select(func.count(tables.votes.c.showing.distinct())).where(tables.votes.c.person == person)
        with self.engine.begin() as connection:
            return int(connection.scalar(chosen) or 0)

    def waiting(self, person: str, overlap: int, source: str) -> str | None:
        """Return a finished comparison that fewer than `overlap` people have judged, this person not among them."""
        c, v = tables.comparisons.c, tables.votes.c
        mine = tables.showings.alias("mine").c
        seen = exists().where(mine.comparison == c.id, mine.person == person)
        finished = exists().where(tables.answers.c.comparison == c.id)
        people = func.count(v.person.distinct())
        query = (
            select(c.id)
            .select_from(tables.comparisons.join(tables.showings).join(tables.votes))
            .where(c.source == source, finished, ~seen)
            .group_by(c.id, c.created)
            .having(people < overlap)
            .order_by(c.created)
            .limit(1)
        )
        with self.engine.begin() as connection:
            return connection.scalar(query)

    def times_asked(self) -> dict[str, int]:
        """Return how often each prompt (by its hash) has been asked."""
        column = tables.comparisons.c.prompt_hash
        with self.engine.begin() as connection:
            return {row[0]: row[1] for row in connection.execute(select(column, func.count()).group_by(column))}

    def rows(self) -> dict[str, list[RowMapping]]:
        """Return every row of every table, read at one moment."""
        with self.engine.begin() as connection:
            return {
                table.name: list(connection.execute(select(table).order_by(*table.primary_key)).mappings())
                for table in tables.metadata.sorted_tables
            }


def _check(vote: Vote) -> None:
    if vote.choice not in CHOICES:
        raise Refused(f"choice {vote.choice!r} is none of {', '.join(CHOICES)}")
    if vote.strength is not None and vote.strength not in STRENGTHS:
        raise Refused(f"strength {vote.strength!r} is none of {', '.join(map(str, STRENGTHS))}")
    if not 0 < len(vote.key) <= 120 or not vote.person:
        raise Refused("a vote needs a person and a key of at most 120 characters")
    if max(len(vote.note), len(vote.edited), len(vote.person)) > LONGEST:
        raise Refused(f"at most {LONGEST} characters, please")


def _showing(connection: Connection, identity: str) -> Showing:
    c, s = tables.comparisons.c, tables.showings.c
    query = select(s.comparison, s.person, s.order, c.prompt).where(s.id == identity, c.id == s.comparison)
    row = connection.execute(query).first()
    if row is None:
        raise Refused("there is no such pair")
    known = dict(
        connection.execute(
            select(tables.answers.c.number, tables.answers.c.text).where(tables.answers.c.comparison == row.comparison)
        )
        .tuples()
        .all()
    )
    numbers = connection.scalars(_numbers(row.comparison)).all()
    return Showing(
        identity, row.comparison, row.person, row.order, row.prompt, [known.get(number) for number in numbers]
    )


def _numbers(comparison: str) -> Any:
    columns = tables.candidates.c
    return select(columns.number).where(columns.comparison == comparison).order_by(columns.number)


def _seconds_since(connection: Connection, shown: Showing) -> float:
    """Return the seconds since the person had everything before them."""
    answered = connection.scalar(
        select(func.max(tables.answers.c.created)).where(tables.answers.c.comparison == shown.comparison)
    )
    started = connection.scalar(select(tables.showings.c.created).where(tables.showings.c.id == shown.id))
    begin = datetime.fromisoformat(max(str(answered), str(started)))
    return round((datetime.now(UTC) - begin).total_seconds(), 3)


def _columns(candidate: Candidate) -> dict[str, Any]:
    return dict(vars(candidate))


def is_url(place: str) -> bool:
    """Return whether a store is named by a database URL rather than by a file."""
    return "://" in place


def _engine(place: str, create: bool) -> Engine:
    if is_url(place):
        try:
            engine = create_engine(place)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise UserError(
                _shown(place), f"no database can be opened by this URL ({error})", "postgresql+psycopg://..., or a file"
            ) from None
    else:
        _make_file(Path(place), create)
        engine = create_engine(f"sqlite:///{place}", connect_args={"timeout": BUSY_SECONDS})
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


def _make_file(path: Path, create: bool) -> None:
    """Make an empty file that only its owner can read: it will hold what people wrote."""
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not path.is_file():
            raise UserError(str(path), "there is no label store", "start the app first, and vote: tuneloop app RECIPE")
    except OSError as error:
        raise UserError(str(path), f"cannot be opened for writing ({error.strerror})", "name another file") from None


def _configure(connection: Any, _record: Any) -> None:
    """Set SQLite up: transactions begin where we say so; each commit reaches the disk."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: a reader that turns writer half-way is refused instead of made to wait.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up(connection: Connection) -> None:
    tables.metadata.create_all(connection)
    if connection.scalar(select(func.count()).select_from(tables.schema_version)) == 0:
        connection.execute(insert(tables.schema_version), {"version": tables.VERSION, "created": now()})


def _check_version(connection: Connection, place: str) -> None:
    version = connection.scalar(select(func.max(tables.schema_version.c.version)))
    if version is None or version > tables.VERSION:
        raise UserError(
            _shown(place),
            f"label store of version {version}; this Tuneloop knows versions up to {tables.VERSION}",
            "bring Tuneloop up to date, or name another file",
        )


def _shown(place: str) -> str:
    """Return how a store is named in messages: a URL without its password."""
    if not is_url(place):
        return place
    scheme, rest = place.split("://", 1)
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextmanager
def opened(place: str, *, create: bool = False) -> Iterator[Store]:
    """Open a store for the length of a block."""
    store = Store(place, create=create)
    try:
        yield store
    finally:
        store.close()
