"""What `annotate` says of the records that it rejects; its result are the records themselves."""

from budget_cli.records.columns import Tally


def where_rejected(tally: Tally, rejects: str | None, unheld: int, in_document: bool) -> str:
    """Say where the rejected records are.

    Args:
        tally: what became of the records.
        rejects: the file of --rejects, if there is one.
        unheld: rejected lines that are not in it, as they were too long.
        in_document: True if the input is a JSON document, which keeps them.
    """
    where = "are not in the output; --rejects FILE keeps them"
    if in_document:
        where = f"have no terms{'' if rejects is None else f'; copies are in {rejects}'}"
    elif rejects is not None:
        rest = f", except {unheld:,} that were too long to keep" if unheld else ""
        where = f"are in {rejects} instead of the output{rest}"
    return f"{tally.rejected:,} of {tally.read:,} records {where}"
