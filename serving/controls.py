"""What an answer may know of its listener: everything, or, without the consent and in incognito, their wishes alone."""

from __future__ import annotations

from recsys.features.registers import Register, standing
from recsys.types import UserState


def allowed(user: UserState, incognito_as: str | None = None) -> UserState:
    """The state that an answer may read.

    Without the personalization consent, and in incognito, no play, save or follow is left in it, so that nothing
    downstream can use one. What the listener does not want (tracks, artists, snoozes) holds all the same.

    Args:
        incognito_as: the made-up id under which an incognito answer is given and logged; None: not incognito.
    """
    if user.personalized and incognito_as is None:
        return user
    wishes = tuple(mark for mark in user.marks if mark[0] != Register.FOLLOW.value)
    return UserState(
        incognito_as or user.user_id,
        personalized=False,
        consent_at=user.consent_at,
        offset=user.offset,
        **standing(wishes),
    )
