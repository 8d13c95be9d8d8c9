"""What a recorded entry says of its session: never more than its repository allows, and no secret."""

import re

_LONGEST = 1500
_HIDDEN = "[removed]"

_SECRETS = re.compile(
    r"""
    -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z\ ]*PRIVATE\ KEY-----|\Z)
    | \b(?:sk|pk|rk|kto|keito_sk|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abposr]|npm|pypi|hf|AIza|ya29)[-_.]?
      [A-Za-z0-9_\-.]{12,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?
    | (?<=://)[^\s/@:]+:[^\s/@]+(?=@)
    | \b(?i:bearer|basic)\s+[A-Za-z0-9+/=_\-.~]{12,}
    | \b[A-Fa-f0-9]{40,}\b
    | \b(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[a-z])(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{32,}={0,2}
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(
    r"""(?ix)
    \b([\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[\s_-]?key|access[\s_-]?key|private[\s_-]?key|credential)s?)
    (["'`]?\s*(?:[:=]|\bis\b)\s*)
    ("[^"\n]+"|'[^'\n]+'|`[^`\n]+`|\S+)
    """
)


_HEADING = re.compile(r"Agent session in .*? \(\d+ turns?\): ", re.DOTALL)


def notes(repository: str, turns: int, message: str | None, *, redact: bool) -> str:
    """The notes of a session: where it was, how many turns it had, and how its agent summed it up.

    Args:
        repository: The repository's name.
        turns: How many turns it had that day and before.
        message: The last message of the agent; its first paragraph is used.
        redact: Whether nothing of it may be.
    """
    heading = f"Agent session in {repository} ({turns} turn{'' if turns == 1 else 's'})"
    summary = "" if redact or not message else without_secrets(message.strip().partition("\n\n")[0]).strip()
    return f"{heading}: {summary}"[:_LONGEST].rstrip() if summary else heading


def summary(of: str | None) -> str | None:
    """What notes that were made here say of their session's last message; None where they say nothing of it."""
    heading = _HEADING.match(of or "")
    return heading.string[heading.end() :] if heading else None


def without_secrets(text: str) -> str:
    """A text without what looks like a key, a token or a password."""
    named = _NAMED.sub(lambda found: f"{found[1]}{found[2]}{_HIDDEN}", text)
    return _SECRETS.sub(_HIDDEN, named)
