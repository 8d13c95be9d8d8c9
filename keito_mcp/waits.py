"""How long things are waited for: the waiting times of writes, of the queue and of timers, in one place."""

from datetime import timedelta

SAME_CALL = timedelta(minutes=2)
"""Within this, the same call of the same agent is taken for one call that was made twice."""

LATE_ARRIVAL = timedelta(seconds=120)
"""How long a write that got no answer may still turn up in Keito; before that it is never sent again."""

SECOND_COPY = timedelta(minutes=5)
"""How long after it was sent twice an entry is looked up once more, for a second one with its key."""

NEXT_LOOK = timedelta(seconds=10)
"""The least time between two looks for an entry that isn't there."""

LEASE = timedelta(seconds=60)
"""How long a process may work on a write before another one may take it over."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
"""A write that couldn't be delivered rests: first so long, twice as long each time, and never longer."""

HEARTBEAT = timedelta(minutes=1)
"""How often a server with a running timer gives a sign of life, and looks what others left in the queue."""

SILENCE = timedelta(hours=12)
"""A session without a sign of life for so long is over, where its process can't be seen."""

LONGEST_TIMER = timedelta(hours=8)
"""The most that a running timer counts."""

KEPT = timedelta(days=90)
"""How long the journal keeps what is settled, and what was discarded can be restored."""

LONGEST_REST = timedelta(hours=1)
"""The longest rest of all, and so the longest `Retry-After` that is believed."""

RATE_WINDOW = timedelta(minutes=1)
BACKGROUND_RATE = 12
SYNC_RATE = 30
"""The requests that delivering may make in each window: a fifth, and half, of the free plan's 60 a minute."""
