"""A stand-in for the model's API, so that a real host runs its whole course without a model.

What the model does is written in the prompt, as a JSON list of steps: `["call", tool, arguments]` calls a tool,
`["say", text]` ends the turn, `["fail", status]` answers with an error. Each may take its time: its last part is the
seconds before the answer. A sub-agent's script is its own prompt. Nothing is kept between requests: which step is
next follows from how many answers the conversation has had since its script.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Event = tuple[str, dict[str, Any]]


def call(tool: str, *, after: float = 0, **arguments: Any) -> list[object]:
    """A step in which the model calls a tool."""
    return ["call", tool, arguments, after]


def say(text: str, *, after: float = 0) -> list[object]:
    """A step in which the model ends its turn."""
    return ["say", text, after]


def fail(status: int, *, after: float = 0) -> list[object]:
    """A step in which the API answers with an error."""
    return ["fail", status, after]


def script(*steps: list[object]) -> str:
    """A prompt that has the model do these steps."""
    return json.dumps(steps)


@contextmanager
def scripted_model() -> Iterator[str]:
    """The address of the API, on a port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer("application/json", b"")

    def do_GET(self) -> None:
        self._answer("application/json", b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        if self.path.partition("?")[0] != "/v1/messages":
            self._answer("application/json", b'{"input_tokens": 1}')
            return
        block = _next_block(body)
        if block["type"] == "error":
            error = {"type": "error", "error": {"type": "api_error", "message": "as the script says"}}
            self._answer("application/json", json.dumps(error).encode(), block["status"])
        elif body.get("stream"):
            events = [
                f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in _events(body, block)
            ]
            self._answer("text/event-stream", "".join(events).encode())
        else:
            self._answer("application/json", json.dumps({**_message(body), "content": [block]}).encode())

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""

    def _answer(self, content_type: str, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _next_block(body: dict[str, Any]) -> dict[str, Any]:
    """What the model answers: the next step of the conversation's last script."""
    messages = body.get("messages", [])
    for at in range(len(messages) - 1, -1, -1):
        steps = _script_in(messages[at])
        if steps is None:
            continue
        done = sum(message["role"] == "assistant" for message in messages[at + 1 :])
        step: list[Any] = steps[done] if done < len(steps) else say("done")
        time.sleep(step[-1])
        if step[0] == "fail":
            return {"type": "error", "status": step[1]}
        if step[0] == "say":
            return {"type": "text", "text": step[1]}
        name = next((tool["name"] for tool in body["tools"] if tool["name"].endswith(step[1])), step[1])
        return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name, "input": step[2]}
    return {"type": "text", "text": "ok"}


def _script_in(message: dict[str, Any]) -> list[Any] | None:
    content = message["content"]
    texts = [content] if isinstance(content, str) else [block.get("text", "") for block in content]
    for text in texts:
        said = text.rpartition("\nARGUMENTS: ")[2]  # a skill's text ends with what the user typed after its name
        if message["role"] == "user" and said.lstrip().startswith('[["'):
            steps: list[Any] = json.loads(said)
            return steps
    return None


def _message(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def _events(body: dict[str, Any], block: dict[str, Any]) -> Iterator[Event]:
    is_call = block["type"] == "tool_use"
    empty = {**block, "input": {}} if is_call else {**block, "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        if is_call
        else {"type": "text_delta", "text": block["text"]}
    )
    yield "message_start", {"message": {**_message(body), "stop_reason": None}}
    yield "content_block_start", {"index": 0, "content_block": empty}
    yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    reason = {"stop_reason": "tool_use" if is_call else "end_turn", "stop_sequence": None}
    yield "message_delta", {"delta": reason, "usage": {"output_tokens": 5}}
    yield "message_stop", {}
