"""Who may do what with the streams' tables, as SQL: it follows from each stream's declaration.

Every role sees and writes rows of one user, the one in `app.user_id`; the tables' own policy holds
them to it. What each may do at all is granted here:

==============  ======================================================================
`am_reader`     the owner of the rows: reads everything of one user; what the API uses
`am_agent`      the same, and gives commands to devices
`am_analyst`    reads what is not `secret`, of one user
`am_device`     adds rows of one device to raw streams, and reads nothing
`am_operator`   the counts of everybody and no content (`am.landing`, `am.publication` …)
==============  ======================================================================
"""

from collections.abc import Callable, Iterable

from am_assets.streams.stream import Sensitivity, Stream

SCHEMA = "am"
STORE = "am_store"  # of TimescaleDB's hypertables
READER = "am_reader"
AGENT = "am_agent"  # a member of the reader, so that what it may read is never said twice
ANALYST = "am_analyst"
DEVICE = "am_device"
OPERATOR = "am_operator"
LIMITED = (READER, AGENT, ANALYST, DEVICE, OPERATOR)  # held to one user
COMMANDS = "device.command."
IS_OWN = "user_id = current_setting('app.user_id', true)"
# A device that names itself writes as itself only.
IS_OWN_DEVICE = (
    f"{IS_OWN} AND device_id = coalesce(nullif(current_setting('app.device_id', true), ''), "
    "device_id)"
)


def own_rows(table_name: str) -> tuple[str, ...]:
    """Statements that hold everybody but the table's owner to the rows of `app.user_id`."""
    return (
        f"ALTER TABLE {table_name} ENABLE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS own_rows ON {table_name}",
        f"CREATE POLICY own_rows ON {table_name} USING ({IS_OWN}) WITH CHECK ({IS_OWN_DEVICE})",
    )


def shown_rows() -> str:
    """The condition by which a view of all rows shows everybody but its keeper one user's only.

    The keeper is who may use the schema behind. What does not depend on the row is asked once.
    """
    return (
        f"(SELECT has_schema_privilege('{STORE}', 'USAGE')) OR {IS_OWN} "
        f"AND ((SELECT NOT pg_has_role('{DEVICE}', 'USAGE')) OR {IS_OWN_DEVICE})"
    )


def own_writes(view_name: str) -> str:
    """Statement by which a limited role can't write through such a view what it would not show."""
    return f"ALTER VIEW {view_name} SET (check_option = local)"


def grants(
    streams: Iterable[Stream], *, further: Callable[[Stream], Iterable[str]] = lambda _: ()
) -> tuple[str, ...]:
    """Statements that give each role what it may do: a handful, each over many tables.

    `further` names what is made of a stream's table and is as sensitive: its roll-ups.
    """
    chosen = list(streams)
    secret = [one for one in chosen if one.sensitivity is Sensitivity.SECRET]
    open_ = [one for one in chosen if one.sensitivity is not Sensitivity.SECRET]
    commands = [one.table for one in chosen if is_command(one)]
    raw = [one.table for one in chosen if not one.is_derived and not is_command(one)]
    rights = (
        ("REVOKE SELECT ON {} FROM " + ANALYST, _with(secret, further)),
        ("GRANT SELECT ON {} TO " + ANALYST, _with(open_, further)),
        ("GRANT INSERT ON {} TO " + DEVICE, raw),
        ("GRANT INSERT ON {} TO " + AGENT, commands),
    )
    return tuple(words.format(_list(tables)) for words, tables in rights if tables)


def is_command(stream: Stream) -> bool:
    """Whether rows of it tell a device what to do: for the agent to write, not for devices."""
    return stream.name.startswith(COMMANDS)


def _with(streams: Iterable[Stream], further: Callable[[Stream], Iterable[str]]) -> list[str]:
    return [name for stream in streams for name in (stream.table, *further(stream))]


def _list(tables: Iterable[str]) -> str:
    return ", ".join(f"{SCHEMA}.{table}" for table in tables)
