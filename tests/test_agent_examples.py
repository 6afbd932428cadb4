"""The agent as a service: what the examples of unit, image and compose file name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from plugin_sdk import cli as kontor
from plugin_sdk.client import Client
from plugin_sdk.errors import Misconfigured

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLES = DOCS / "examples"
OPERATIONS = (DOCS / "operations.md").read_text()
UNIT = (EXAMPLES / "kontor-agent.service").read_text()
IMAGE = (EXAMPLES / "agent.Dockerfile").read_text()
STATE = "/var/lib/kontor-agent"


def unit() -> dict[str, list[str]]:
    """Name of a line in [Service] to its values, in their order (systemd.syntax(7))."""
    found: dict[str, list[str]] = {}
    section = UNIT.partition("\n[Service]\n")[2].partition("\n[Install]\n")[0]
    for name, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def env_file() -> dict[str, str]:
    lines = (EXAMPLES / "kontor-agent.env").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if not line.startswith("#")]
    assert all(equals and value and not set(value) & set("'\" ") for _, equals, value in pairs)
    return {name: value for name, _, value in pairs}


def compose() -> dict[str, object]:
    service: dict[str, object] = yaml.safe_load((EXAMPLES / "agent.compose.yaml").read_text())[
        "services"
    ]["agent"]
    return service


def commands() -> dict[str, list[str]]:
    """Every command line that the examples run, also what a comment offers."""
    start = shlex.split(unit()["ExecStart"][0])
    text = (EXAMPLES / "agent.compose.yaml").read_text()
    offered = yaml.safe_load(re.findall(r"# (command: .*)", text)[0])["command"]
    option = re.findall(r'# Add "([^"]+)"', UNIT)[0]
    made = yaml.safe_load(re.findall(r"^CMD (.*)$", IMAGE, re.MULTILINE)[0])
    return {
        "unit": [Path(start[0]).name, *start[1:]],
        "unit with webhooks": [Path(start[0]).name, *start[1:], *option.split()],
        "image": made,
        "compose": compose()["command"],
        "compose with webhooks": offered,
    }


@pytest.mark.parametrize("where", commands())
def test_the_command_is_the_agents(where):
    name, *arguments = commands()[where]
    parsed = kontor._parser().parse_args(arguments)
    assert (name, parsed.command.__name__) == ("kontor", "_run")
    assert (parsed.listen is not None) == ("webhooks" in where)


def test_the_settings_are_those_of_the_agent_and_enough_for_it():
    given = env_file()
    settings = kontor.read_settings(given)
    connector = kontor.find_class(settings.connector)
    known = {"KONTOR_URL", "KONTOR_API_KEY", "KONTOR_CONNECTOR"}
    assert set(given) == known | {f"KONTOR_{name.upper()}" for name in settings.fields}
    connector(settings.fields).close()
    Client(settings.url, settings.api_key).close()


@pytest.mark.parametrize("name", sorted(env_file()))
def test_none_of_the_settings_can_be_left_out(name):
    given = {key: value for key, value in env_file().items() if key != name}
    with pytest.raises(Misconfigured):
        settings = kontor.read_settings(given)
        kontor.find_class(settings.connector)(settings.fields).close()
        Client(settings.url, settings.api_key).close()


def test_its_memory_is_where_it_may_write():
    service = unit()
    assert service["Environment"] == ["KONTOR_STATE=%S/kontor-agent"]  # %S is /var/lib
    assert service["StateDirectory"] == ["kontor-agent"]
    assert f"ENV KONTOR_STATE={STATE}\n" in IMAGE and f"VOLUME {STATE}\n" in IMAGE
    assert f"--home-dir {STATE} kontor\n" in IMAGE
    assert compose()["volumes"] == [f"state:{STATE}"]
    assert kontor.read_settings({**env_file(), "KONTOR_STATE": STATE}).state == Path(STATE)


def test_it_may_do_nothing_else_and_comes_back():
    service = unit()
    for name, value in {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "Restart": "always",
    }.items():
        assert service[name] == [value], name
    assert re.findall(r"^USER (\w+)$", IMAGE, re.MULTILINE) == ["kontor"]
    inside = compose()
    assert (inside["restart"], inside["read_only"]) == ("unless-stopped", True)
    assert inside["cap_drop"] == ["ALL"]


def test_the_files_name_one_another_and_the_page_names_them_all():
    assert unit()["EnvironmentFile"] == ["/etc/kontor-agent.env"]
    assert compose()["env_file"] == ["kontor-agent.env"]
    assert compose()["build"] == {"context": ".", "dockerfile": "agent.Dockerfile"}
    section = OPERATIONS.partition("## The agent as a service")[2].partition("\n## ")[0]
    linked = set(re.findall(r"\(examples/([^)]+)\)", section))
    assert linked == {
        "agent.Dockerfile",
        "agent.compose.yaml",
        "kontor-agent.env",
        "kontor-agent.service",
    }
    place = Path(shlex.split(unit()["ExecStart"][0])[0]).parent.parent
    assert f"python3 -m venv {place}\n" in section
    assert "install -m 600 kontor-agent.env /etc/kontor-agent.env\n" in section
    assert set(re.findall(r"--build-arg (\w+)", section)) == set(
        re.findall(r"^ARG (\w+)=", IMAGE, re.MULTILINE)
    )
