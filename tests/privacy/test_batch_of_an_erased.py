"""A listener who is erased while their events are on the way costs the others in the batch nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.engines import open_log, open_store
from recsys.errors import Erased
from recsys.home import Home
from recsys.ports import Appended
from recsys.steady_store import SteadyStore
from recsys.vault import Vault
from serving.privacy.forgetting import ERASED, Forgetting
from tests.eventlog.samples import play


def test_of_a_batch_with_somebody_erased_since_the_check_the_others_are_acknowledged(tmp_path: Path) -> None:
    home = Home.of(tmp_path)
    log, store = open_log(home), SteadyStore(open_store(home))
    forgetting = Forgetting(home, store, [], Vault.of_home(home))
    events = [(place, play(place)) for place in range(6)]  # of three listeners, in turn
    gone = events[1][1].user_id
    forgetting.follow()  # from now on this server does not look for STALE_SECONDS
    forgetting._vault._next_look = float("inf")
    Vault.of_home(home)._rows.destroy(Vault.of_home(home)._master.tag(gone), 5)  # as its first half is seen
    with pytest.raises(Erased):
        log.append([event for _, event in events])
    good, results, refused = forgetting.append(log, events)
    assert [place for place, _ in good] == [0, 2, 3, 5]
    assert results == [Appended.ACCEPTED] * 4
    assert refused == [(1, ERASED), (4, ERASED)]
    assert forgetting.append(log, [events[4]]) == ([], [], [(4, ERASED)])
    log.close()
    store.close()
