"""`recsys privacy`: erase a listener, receipts, verification, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

privacy = typer.Typer(
    help="A listener's rights: erase them everywhere, receipts and their verification, export.",
    no_args_is_help=True,
)
UserArgument = Annotated[str, typer.Argument(help="A listener's id.")]


@privacy.command()
def erase(user: UserArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Erase a listener from log, lake, states, features and decisions; prints the receipt.

    Their key is destroyed first, so that copies of the log, in backups too, can no longer be read. Releases that
    learned from them are marked, expire, and never seed a training; the next `recsys index` trains without them. A run
    that is killed goes on with `recsys privacy resume`. It cannot be undone.
    """
    from serving.clock import now_ms
    from serving.privacy.wiring import privacy_of

    place = open_home(home)
    service = privacy_of(place)
    receipt = service.run(service.request(user, now_ms()).id, now_ms)
    if as_json:
        print_json(receipt.model_dump())
        return
    for name, facts in receipt.removed.items():
        shown = {k: v for k, v in facts.items() if k != "at"}
        console.print(f"  {name}: {shown}", highlight=False, markup=False)
    console.print(f"erased; receipt {receipt.id}", highlight=False)


@privacy.command()
def resume(home: HomeOption = None) -> None:
    """Go on with every erasure that was asked for and is not done. One that fails stays open; the others go on."""
    from serving.clock import now_ms
    from serving.privacy.wiring import privacy_of

    done = privacy_of(open_home(home)).resume(now_ms)
    for request_id, failure in done.failed.items():
        console.print(f"  {request_id} is not done: {failure.why}", highlight=False, markup=False)
    nothing = not done.receipts and not done.failed
    console.print("nothing was open" if nothing else f"{len(done.receipts)} erasures done")
    if done.failed:
        raise typer.Exit(1)


@privacy.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """All erasures: id, state, when, and why one that is open did not end; never whom."""
    from serving.privacy.wiring import privacy_of

    requests = privacy_of(open_home(home)).requests
    names = ("id", "state", "requested_at", "done_at", "problem")
    rows = [{name: getattr(request, name) for name in names} for request in requests.all()]
    for request_id, why in requests.unreadable().items():
        rows.append(dict(zip(names, (request_id, "unreadable", None, None, why), strict=True)))
    if as_json:
        print_json(rows)
        return
    table = Table("request", "state", "asked (UTC ms)", "done (UTC ms)", "problem")
    for row in rows:
        table.add_row(*("" if v is None else str(v) for v in row.values()))
    console.print(table)


@privacy.command()
def receipt(
    request_id: Annotated[str, typer.Argument(help="As `recsys privacy list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Print the receipt of an erasure as JSON: what was removed where, with digest and seal."""
    from serving.privacy.wiring import privacy_of

    print_json(privacy_of(open_home(home)).requests.receipt(request_id).model_dump())


@privacy.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A receipt, as `recsys privacy receipt` prints it.")],
    user: Annotated[str | None, typer.Option(help="Search every byte of the home for this id, too.")] = None,
    home: HomeOption = None,
) -> None:
    """Check a receipt's digest and seal, and look again at every place that it names."""
    from music.privacy.store import read_receipt
    from recsys.errors import BadInput
    from serving.privacy.verify import verify as look
    from serving.privacy.wiring import privacy_of

    try:
        shown = read_receipt(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    place = open_home(home)
    found = look(place, privacy_of(place), shown, user)
    for line in found:
        console.print(f"  {line}", highlight=False, markup=False)
    console.print("the receipt holds" if not found else "the receipt does not hold")
    if found:
        raise typer.Exit(1)


@privacy.command()
def export(user: UserArgument, home: HomeOption = None) -> None:
    """Print everything that is held of a listener as JSON (a request for access)."""
    from serving.privacy.export import export as held

    print_json(held(open_home(home), user))


@privacy.command()
def seal(home: HomeOption = None) -> None:
    """Seal what the event log held from before there were keys; beside running servers, and safe to repeat."""
    from recsys.engines import open_log
    from recsys.eventlog import LocalEventLog
    from recsys.eventlog.rewrite import seal_old
    from recsys.vault import Vault

    place = open_home(home)
    log = open_log(place)
    try:
        count = seal_old(log, Vault.of_home(place)) if isinstance(log, LocalEventLog) else 0
    finally:
        log.close()
    console.print(f"{count} records sealed")


@privacy.command()
def sweep(home: HomeOption = None) -> None:
    """Remove the files of releases and learned states whose mark has expired; the champion's stay."""
    from serving.clock import now_ms
    from serving.privacy.releases import sweep as remove

    gone = remove(open_home(home), now_ms())
    console.print(f"removed: {', '.join(gone)}" if gone else "nothing has expired", highlight=False)
