"""Chat in a terminal or through a pipe: questions in, answers out, a history between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TextIO

import httpx
from pydantic import SecretStr

from hieno.chat import completions
from hieno.chat.completions import Message, Sampling
from hieno.chat.text import printable
from hieno.errors import AccessDenied, HienoError, MissingInput

PROMPT = "you> "
HELP = """/reset        begin a new conversation
/system TEXT  begin a new conversation with these instructions (none: without)
/help         this list
/exit         end (so does Ctrl-D; Ctrl-C stops an answer, a second one ends)"""


def chat(
    endpoint: str,
    key: SecretStr,
    *,
    deployment: str | None = None,
    system: str = "",
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    stream_in: TextIO | None = None,
    stream_out: TextIO | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Answer questions until the input ends; return the exit code.

    In a terminal errors are shown and the chat goes on. Through a pipe each line is a question,
    only answers are written to `stream_out`, and an error ends the chat by being raised.
    """
    source, sink = stream_in or sys.stdin, stream_out or sys.stdout
    tell = say or _say
    with completions.connect(endpoint, key, deployment) as client:
        session = _Session(client, Sampling(max_new_tokens, temperature), sink, tell, system)
        if source.isatty() and sink.isatty():
            return session.interact(deployment)
        for line in source:
            if not session.enter(line.strip()):
                break
        return 0


def ask(
    endpoint: str,
    key: SecretStr,
    question: str,
    *,
    deployment: str | None = None,
    system: str = "",
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    stream_out: TextIO | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Answer one question and return the exit code."""
    with completions.connect(endpoint, key, deployment) as client:
        sampling = Sampling(max_new_tokens, temperature)
        _Session(client, sampling, stream_out or sys.stdout, say or _say, system).ask(question)
    return 0


@dataclass
class _Session:
    """One conversation: it lives as long as the chat and grows with every answer."""

    client: httpx.Client
    sampling: Sampling
    sink: TextIO
    say: Callable[[str], None]
    system: str = ""
    interactive: bool = False
    name: str | None = None
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset(self.system)

    def interact(self, deployment: str | None) -> int:
        """Read from a terminal, with line editing where there is any, until the user ends it."""
        self.interactive = True
        name = self.model()
        which = f" (deployment {deployment})" if deployment else ""
        self.say(f"chatting with {name}{which}; /help lists the commands")
        for line in _typed_lines():
            if line is None:
                return 130
            try:
                if not self.enter(line.strip()):
                    return 0
            except AccessDenied:
                raise
            except HienoError as error:
                self.say(f"\nerror: {error.message}\n{error.hint}")
        return 0

    def enter(self, line: str) -> bool:
        """Do what one line says; False where it ends the chat."""
        command, _, rest = line.partition(" ")
        match command:
            case "":
                pass
            case "/exit" | "/quit":
                return False
            case "/help":
                self.say(HELP)
            case "/reset":
                self.reset(self.system)
                self.say("a new conversation begins")
            case "/system":
                self.reset(rest.strip())
                which = "with these" if rest.strip() else "without"
                self.say(f"a new conversation begins, {which} instructions")
            case _ if command.startswith("/") and command[1:].isalpha():
                self.say(f"there is no command {printable(command)}\n{HELP}")
            case _:
                self.ask(line)
        return True

    def reset(self, system: str) -> None:
        """Forget what was said."""
        self.system = system
        self.messages = [{"role": "system", "content": system}] if system.strip() else []

    def ask(self, question: str) -> None:
        """Stream the answer to a question; what is stopped by Ctrl-C stays in the history."""
        asked = [*self.messages, {"role": "user", "content": question}]
        pieces: list[str] = []
        stream = completions.answer(self.client, self.model(), asked, self.sampling, say=self.say)
        try:
            with closing(stream):
                for piece in stream:
                    pieces.append(piece)
                    self._write(printable(piece))
        except MissingInput:
            self.name = None  # a new version may go by another name: the next question asks for it
            raise
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self._write("\n(stopped)\n")
        else:
            self._write("\n")
        if pieces:
            self.messages = [*asked, {"role": "assistant", "content": "".join(pieces)}]

    def model(self) -> str:
        """Return the model's name, asked once."""
        if self.name is None:
            self.name = printable(completions.model(self.client, say=self.say))
        return self.name

    def _write(self, text: str) -> None:
        # A terminal that cannot show a character shows a question mark instead of ending the chat.
        encoding = getattr(self.sink, "encoding", None) or "utf-8"
        self.sink.write(text.encode(encoding, "replace").decode(encoding))
        self.sink.flush()


def _typed_lines() -> Iterator[str | None]:
    """Yield what is typed; None for Ctrl-C. Nothing typed is kept on disk."""
    with suppress(ImportError):  # Windows edits lines by itself
        import readline  # noqa: F401 - importing it gives input() its line editing
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            yield None
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
