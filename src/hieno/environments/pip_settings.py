"""pip's settings in uv's words, since uv reads neither pip's files nor its variables.

A value comes from the environment (`PIP_INDEX_URL`), else from the files that `PIP_CONFIG_FILE`,
this Python, the user and the machine have, in this order. Addresses may hold credentials, so the
result belongs in a process environment and nowhere else.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from hieno.errors import ConfigError

# pip's name, uv's variable, what stands between two values.
_PLAIN = (
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", " "),
    ("timeout", "UV_HTTP_TIMEOUT", " "),
    ("default-timeout", "UV_HTTP_TIMEOUT", " "),
)


def uv_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a whole process environment in which uv finds packages where pip would.

    Variables that are already set for uv win. Indexes that are folders and are not there are
    left out, because uv would stop at them where pip goes on.
    """
    made = dict(os.environ if environment is None else environment)
    settings = _pip_settings(made)
    for option, variable, separator in _PLAIN:
        values = [_whole(value) for value in settings.get(option, "").split() if _is_there(value)]
        if values and not made.get(variable):
            made[variable] = separator.join(values)
    if proxy := settings.get("proxy", "").strip():
        made.setdefault("HTTPS_PROXY", proxy)
        made.setdefault("HTTP_PROXY", proxy)
    if made.get("UV_INDEX"):
        # pip takes the best version of all indexes; uv by default looks at the first one only.
        made.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    made.pop("VIRTUAL_ENV", None)  # the environment is always named on uv's command line
    return made


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for path in _files(environment):
        settings |= _read(path)
    for name, value in environment.items():
        if name.upper().startswith("PIP_") and value:
            settings[_option(name[len("PIP_") :])] = value
    return settings


def _files(environment: Mapping[str, str]) -> list[Path]:
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # pip's way of reading no file at all
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    last = [Path(named).expanduser()] if named else []
    return [*_machine_and_user(environment, name), Path(sys.prefix) / name, *last]


def _machine_and_user(environment: Mapping[str, str], name: str) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "win32":
        machine = Path(environment.get("PROGRAMDATA", "C:/ProgramData"))
        roaming = Path(environment.get("APPDATA", home / "AppData/Roaming"))
        return [machine / "pip" / name, home / "pip" / name, roaming / "pip" / name]
    modern = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / name
    if sys.platform == "darwin":
        library = home / "Library/Application Support/pip"
        user = library / name if library.is_dir() else modern
        return [Path("/Library/Application Support/pip") / name, home / ".pip" / name, user]
    shared = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    machine_files = [Path(folder) / "pip" / name for folder in reversed(shared)]
    return [*machine_files, Path("/etc") / name, home / ".pip" / name, modern]


def _read(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own words quote the line, which may hold a password.
        raise ConfigError(
            f"pip's file {path} cannot be read", hint="`pip config debug` shows what is wrong"
        ) from None
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= {_option(key): value for key, value in parser.items(section)}
    return found


def _option(name: str) -> str:
    return name.lower().replace("_", "-")


def _is_there(value: str) -> bool:
    return not value.startswith("file:") or _local(value).exists()


def _whole(value: str) -> str:
    # A folder is named from here, and uv runs somewhere else.
    return str(Path(value).absolute()) if Path(value).is_dir() else value


def _local(value: str) -> Path:
    return Path(url2pathname(unquote(urlsplit(value).path)))
