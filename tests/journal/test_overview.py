from decimal import Decimal

import pytest

from keito_mcp.journal import EntryState, Journal, SessionOverview, WriteState
from tests.journal.builders import (
    ACCOUNT,
    WAITS,
    after,
    becomes,
    begun,
    changing,
    created,
    deleting,
    entry,
    queued,
    settle,
    sign,
    stranger,
)
from tests.kit import NOON

pytestmark = pytest.mark.anyio


async def the_session(journal: Journal, session_id: str = "session-1") -> SessionOverview:
    [found] = [session for session in await journal.sessions(ACCOUNT) if session.session_id == session_id]
    return found


async def test_a_journal_without_entries_has_no_sessions(journal: Journal) -> None:
    await journal.sign(sign())
    assert await journal.sessions(ACCOUNT) == []


async def test_the_session_that_lived_last_comes_first(journal: Journal) -> None:
    for number in range(3):
        await created(journal, entry(f"key-{number}", timer=False, owner=stranger(f"session-{number}")))
    await created(journal, entry("other", timer=False, owner=stranger(account="account-2")))
    await journal.sign(sign(stranger("session-1"), at=after(50)))
    await journal.sign(sign(stranger("session-0"), at=after(40)))
    seen = [(session.session_id, session.seen_at) for session in await journal.sessions(ACCOUNT)]
    assert seen == [("session-1", after(50).wall), ("session-0", after(40).wall), ("session-2", NOON)]


async def test_a_session_without_a_sign_of_life_was_seen_at_its_last_change(journal: Journal) -> None:
    first, second = entry("key-1"), entry("key-2", timer=False)
    await created(journal, first)
    await created(journal, second)
    await becomes(journal, first, EntryState.RUNNING, after(70).wall)
    assert (await the_session(journal)).seen_at == after(70).wall


async def test_a_session_has_its_entries_what_waits_for_them_and_what_was_refused(journal: Journal) -> None:
    first, second = entry("key-1"), entry("key-2", timer=False)
    done = await created(journal, first, "te_1")
    waiting = await queued(journal, second)
    refused = await begun(journal, changing(first))
    await settle(journal, refused, WriteState.REFUSED)
    session = await the_session(journal)
    assert [made.entry_key for made in session.entries] == ["key-1", "key-2"]
    assert [write.write_id for write in session.waiting] == [waiting]
    assert [write.write_id for write in session.refused] == [refused]
    assert done not in {waiting, refused}
    assert [made.entry_key for made in session.running] == ["key-1"]


async def test_a_delete_of_what_another_machine_made_belongs_to_the_session_that_it_was_discarded_with(
    journal: Journal,
) -> None:
    made = entry("key-1", owner=stranger("session-9"))
    write_id = await begun(journal, deleting(made, entry_key=None, sent=after(4), **WAITS))
    of_nobody = {"reason": "The second copy.", "entry": {"id": "te_1"}}
    await begun(journal, deleting(made, entry_key=None, body=of_nobody, **WAITS))
    [session] = await journal.sessions(ACCOUNT)
    assert (session.session_id, session.seen_at) == ("session-9", after(4).wall)
    assert [write.write_id for write in session.waiting] == [write_id]


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (EntryState.STOPPED, True),
        (EntryState.STOPPING, True),
        (EntryState.REFUSED, True),
        (EntryState.GONE, False),
        (EntryState.DISCARDED, False),
    ],
)
async def test_the_hours_of_what_is_wanted_are_added_exactly(
    journal: Journal,
    state: EntryState,
    counts: bool,  # noqa: FBT001
) -> None:
    await created(journal, entry("key-1", timer=False, hours=Decimal("0.10"), state=EntryState.STOPPED), "te_1")
    second = entry("key-2", hours=Decimal("0.2"), state=EntryState.RUNNING)
    await created(journal, second, "te_2")
    await becomes(journal, second, state)
    assert (await the_session(journal)).hours == (Decimal("0.3") if counts else Decimal("0.1"))


async def test_hours_are_as_they_will_be_once_all_is_delivered(journal: Journal) -> None:
    made = entry("key-1", timer=False)
    await created(journal, made, "te_1", body={"hours": 1.5})
    await begun(journal, changing(made, body={"hours": 2.0}, state=WriteState.UNKNOWN))
    await begun(journal, changing(made, body={"notes": "n"}, **WAITS))
    assert (await the_session(journal)).hours == Decimal("2.0")
    await begun(journal, changing(made, body={"hours": 0.1}, **WAITS))
    assert (await the_session(journal)).hours == Decimal("0.1")


async def test_hours_that_were_changed_are_not_those_of_a_create_that_is_looked_up_once_more(
    journal: Journal,
) -> None:
    made = entry("key-1", timer=False)
    await created(journal, made, state=WriteState.CONFIRMING, body={"hours": 1.5})
    await becomes(journal, made, EntryState.STOPPED, hours=Decimal("2.25"))
    assert (await the_session(journal)).hours == Decimal("2.25")
