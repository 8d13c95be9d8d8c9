"""The key, in whatever place and form others repeat it: it never gets past the adapter."""

import json
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keito_mcp.keito import Client, Connections, KeitoError
from keito_mcp.keito.secrets import HIDDEN, Redactor
from tests.keito.test_client import UNHURRIED, answer, peer, post

pytestmark = pytest.mark.anyio

SECRET = "Zq7Lw93pXn5RtB2vKc8JmD4h"
KEYS = [f"kto_{SECRET}", f"keito_sk_{SECRET}", f"eyJhbGciOiJSUzI1NiJ9.{SECRET}.{SECRET[::-1]}", f"corp/{SECRET}+=="]
PIECE = 8

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "with Bearer": lambda key: f"Authorization: Bearer {key}",
    "in a sentence": lambda key: f"the key {key}, isn't valid.",
    "twice": lambda key: f"{key}{key}",
    "cut off at its end": lambda key: f"bad key {key[:-6]}...",
    "cut off early": lambda key: f"bad key {key[: key.index(SECRET) + PIECE]}...",
    "cut off at its beginning": lambda key: f"bad key ...{key[10:]}",
    "without its prefix": lambda key: f"bad key {key[key.index(SECRET) :]}",
    "percent-encoded": lambda key: f"?key={quote(key, safe='')}",
    "percent-encoded in full": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "as entities": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "escaped": lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
    "in JSON": lambda key: json.dumps({"key": key}),
    "in hexadecimal": lambda key: key.encode().hex(),
    "in base64": lambda key: b64encode(key.encode()).decode(),
    "in base64 for addresses": lambda key: urlsafe_b64encode(key.encode()).decode(),
    "as a user": lambda key: f"Basic {b64encode(f'{key}:'.encode()).decode()}",
    "as a password": lambda key: f"Basic {b64encode(f'me:{key}'.encode()).decode()}",
    "in an address": lambda key: f"https://me:{key}@keito.example/",
    "at our own limit": lambda key: f"{'x' * 280} {key}",
    "beyond our own limit": lambda key: f"{'x ' * 200}{key}",
}


def error(**said: object) -> bytes:
    return answer("401 Unauthorized", json.dumps({"error": said}))


PLACES: dict[str, Callable[[str], bytes]] = {
    "message": lambda told: error(message=told),
    "code": lambda told: error(code=told, message="no"),
    "field": lambda told: error(field=told, message="no"),
    "v2's description": lambda told: answer("401 No", json.dumps({"error": "no", "error_description": told})),
    "v2's error": lambda told: answer("401 No", json.dumps({"error": told})),
    "reason phrase": lambda told: answer(f"401 {told}"),
    "id of the request": lambda told: answer("401 No", X_Request_Id=told),
    "no HTTP": lambda told: f"HTTP/9.9 {told}\r\n\r\n".encode("latin-1", "replace"),
    "a header that is none": lambda told: f"HTTP/1.1 401 No\r\n{told}\x00: x\r\n\r\n".encode("latin-1", "replace"),
}


def shows(text: str, key: str) -> bool:
    """Return whether a text shows the key, a piece of it, or an encoding of it."""
    secret = key.rpartition(SECRET[-4:])[0] if key.startswith("eyJ") else SECRET
    pieces = {secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)}
    encoded = {
        form(key) for form in (quote, lambda key: key.encode().hex(), lambda key: b64encode(key.encode()).decode())
    }
    encoded |= {FORMS[name](key) for name in ("percent-encoded in full", "as entities", "escaped")}
    encoded |= {b64encode(f"{before}{key}".encode()).decode()[8:-8] for before in ("", "me:", "a", "ab")}
    return any(piece in text for piece in pieces | encoded)


@pytest.mark.parametrize("key", [KEYS[0], KEYS[-1]], ids=["kto", "other"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_no_error_shows_a_key_that_was_repeated(
    place: Callable[[str], bytes], form: Callable[[str], str], key: str
) -> None:
    async with peer(place(form(key))) as here:
        client = Client(here.url, key, Connections())
        with pytest.raises(KeitoError) as caught:
            await post(client)
        await client.aclose()
    told = "".join(traceback.format_exception(caught.value))
    for text in (str(caught.value), repr(vars(caught.value)), told):
        assert not shows(text, key)
    assert str(caught.value).strip()


@pytest.mark.parametrize("key", KEYS, ids=["kto", "keito_sk", "jwt", "other"])
@pytest.mark.parametrize("form", ["as it is", "in JSON", "percent-encoded", "in base64", "as a password", "escaped"])
async def test_no_answer_shows_a_key_and_the_rest_of_it_stays(form: str, key: str) -> None:
    told = FORMS[form](key)
    written = {"id": "te_1", "notes": f"see {told}", "metadata": {"agent": told, told: 1.10}, "hours": 0.1, "n": None}
    text = json.dumps(written).replace("\\\\u", "\\u") if form == "escaped" else json.dumps(written)
    async with peer(answer("200 OK", text)) as here:
        client = Client(here.url, key)
        read = await post(client)
        await client.aclose()
    assert not shows(json.dumps(read), key)
    assert isinstance(read, dict)
    assert read | {"notes": "", "metadata": ""} == {"id": "te_1", "notes": "", "metadata": "", "hours": 0.1, "n": None}
    assert HIDDEN in read["notes"]


KEPT = [
    "project_id is required",
    "send the API key as 'Authorization: Bearer <key>'",
    "send the company's id as 'Keito-Account-Id: <id>'",
    "keys begin with kto_ or keito_sk_",
    "Bearer authentication is required",
    "basic plans may not do this",
    "https://keito.example/docs?a=b#c",
    "write to billing@keito.example",
    "100% of %20 and &amp; and \\u0041",
    "request 3f0c9a1e-5b7d-4c2a-9e8f-112233445566",
]


@pytest.mark.parametrize("text", KEPT)
@pytest.mark.parametrize("key", KEYS, ids=["kto", "keito_sk", "jwt", "other"])
def test_a_text_without_a_key_stays_as_it_is(text: str, key: str) -> None:
    assert Redactor(key).text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "kto_0123456789abcdef of somebody else",
        "keito_sk_other-key_1",
        "Bearer 0123456789abcdef",
        "proxy http://me:hidden@proxy.example:3128 refused",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_credential_of_anybody_is_taken_out(text: str) -> None:
    hidden = Redactor(KEYS[0]).text(text)
    assert HIDDEN in hidden
    assert not any(part in hidden for part in ("0123456789", "other-key", "hidden", "eyJ", "c2ln"))


def test_words_of_others_in_an_answer_lose_nothing_but_the_own_key() -> None:
    content = {"notes": "Bearer 0123456789abcdef and kto_0123456789abcdef"}
    assert Redactor(KEYS[0]).content(content) == content


@pytest.mark.parametrize("key", ["", "a", "hours", "notes_1"])
def test_a_key_that_is_as_short_as_a_word_is_looked_for_nowhere(key: str) -> None:
    said = "hours of notes_1 are a must"
    assert Redactor(key).text(said) == said
    assert Redactor(key).content({"hours": said}) == {"hours": said}


@UNHURRIED
@given(
    before=st.text(max_size=40),
    after=st.text(max_size=40),
    key=st.text('abcdefghijkXYZ0123456789._~+/=-"\\\\', min_size=16, max_size=40),
)
def test_whatever_stands_around_a_key_it_is_found(before: str, after: str, key: str) -> None:
    redactor = Redactor(key)
    assert key not in redactor.text(f"{before}{key}{after}")
    content = redactor.content({"notes": f"{before}{key}{after}"})
    assert key not in content["notes"]
