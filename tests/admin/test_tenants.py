"""Rows of a tenant stay in their workspace and point only at rows of it."""

from __future__ import annotations

import json

import pytest

from conversations.models import Agent, Conversation
from llm.models import LLM
from tests.admin.rows import Office, again, conversation_of, errors
from tests.catalogue import make_llm
from tests.people import Cast, Person
from workspaces.models import User


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm("demo")


def agent_of(person: Person, llm: LLM, **fields: object) -> Agent:
    return Agent.objects.create(workspace=person.workspace, name="Helper", llm=llm, **fields)


def test_an_agent_is_added_to_a_workspace(office: Office, cast: Cast, llm: LLM, root: User) -> None:
    typed = {"name": "Helper", "llm": llm.pk, "settings": '{"stop": ["END"]}', "fallback_llms": ""}

    assert "workspace" in errors(office.add(Agent, **typed))
    response = office.add(Agent, workspace=cast.alice.workspace.pk, **typed)

    assert response.status_code == 302, errors(response)
    agent = Agent.objects.get(workspace=cast.alice.workspace)
    assert (agent.created_by, agent.settings, agent.fallback_llms) == (root, {"stop": ["END"]}, [])


def test_settings_are_an_object_and_fallbacks_a_list(office: Office, cast: Cast, llm: LLM) -> None:
    agent = agent_of(cast.alice, llm)

    assert "settings" in errors(office.save(agent, settings="[]"))
    assert "fallback_llms" in errors(office.save(agent, fallback_llms='"demo/demo"'))
    assert office.save(agent, settings="null").status_code == 302
    assert again(agent).settings == {}


WRONG_SETTINGS = [
    ('{"temperature": "abc"}', "temperature: A valid number is required."),
    ('{"temperature": 3}', "temperature: Ensure this value is less than or equal to 2."),
    ('{"max_tokens": 0}', "max_tokens: Ensure this value is greater than or equal to 1."),
    ('{"max_tokens": "100"}', "max_tokens: A valid integer is required."),
    ('{"stop": "END"}', 'stop: Expected a list of items but got type "str".'),
    ('{"tools": [{"name": ""}]}', "tools.0: A tool needs a “name” of 1 to 64 characters."),
    ('{"response_schema": []}', "response_schema: A JSON schema is an object."),
    ('{"nothing": 1}', "nothing: Unknown field."),
]


@pytest.mark.parametrize(("typed", "said"), WRONG_SETTINGS)
def test_settings_that_no_call_could_be_made_with_are_refused(
    office: Office, cast: Cast, llm: LLM, typed: str, said: str
) -> None:
    """The rules are those of the API."""
    agent, conversation = agent_of(cast.alice, llm), conversation_of(cast.alice)

    for row in (agent, conversation):
        assert errors(office.save(row, settings=typed)) == {"settings": [said]}
        assert again(row).settings == {}


def test_settings_are_kept_in_the_form_in_which_the_api_keeps_them(office: Office, cast: Cast, llm: LLM) -> None:
    agent = agent_of(cast.alice, llm)
    typed = '{"tools": [{"type": "function", "function": {"name": "f"}}], "temperature": 1}'

    assert office.save(agent, settings=typed).status_code == 302
    tool = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
    assert again(agent).settings == {"tools": [tool], "temperature": 1.0}


def test_fallbacks_are_models_that_there_are(office: Office, cast: Cast, llm: LLM) -> None:
    agent = agent_of(cast.alice, llm)
    other = str(make_llm("anthropic"))
    many = json.dumps([str(make_llm("openai", f"gpt-{number}")) for number in range(11)])

    for typed, said in (
        ('["demo/gone", "x"]', ["There is no model “demo/gone”.", "There is no model “x”."]),
        ("[1]", ["Give a list of “provider/name”."]),
        (f'["{other}", "{other}"]', ["A model is named twice."]),
        (many, ["At most 10 models."]),
    ):
        assert errors(office.save(agent, fallback_llms=typed)) == {"fallback_llms": said}
    assert office.save(agent, fallback_llms=f'["{other}"]').status_code == 302
    assert again(agent).fallback_llms == [other]


def test_an_agent_is_edited_but_does_not_move(office: Office, cast: Cast, llm: LLM) -> None:
    agent = agent_of(cast.alice, llm)

    assert office.save(agent, name="Guide", workspace=cast.charlie.workspace.pk).status_code == 302
    assert (again(agent).name, again(agent).workspace_id) == ("Guide", cast.alice.workspace.pk)


def test_a_second_default_agent_is_an_error_of_the_form(office: Office, cast: Cast, llm: LLM) -> None:
    agent_of(cast.alice, llm, is_default=True)
    agent_of(cast.charlie, llm, is_default=True)
    second = agent_of(cast.alice, llm)

    assert errors(office.save(second, is_default="on"))
    assert not again(second).is_default


def test_a_conversation_is_given_an_agent_of_its_workspace_only(office: Office, cast: Cast, llm: LLM) -> None:
    ours, theirs = agent_of(cast.alice, llm), agent_of(cast.charlie, llm)
    conversation = conversation_of(cast.alice)

    assert "agent" in errors(office.save(conversation, agent=theirs.pk))
    assert office.save(conversation, agent=ours.pk).status_code == 302
    assert again(conversation).agent_id == ours.pk


def test_a_conversation_is_added_with_an_agent_of_its_workspace_only(office: Office, cast: Cast, llm: LLM) -> None:
    ours, theirs = agent_of(cast.alice, llm), agent_of(cast.charlie, llm)
    typed = {"workspace": cast.alice.workspace.pk, "user": cast.alice.user.pk, "title": "Talk"}

    assert "agent" in errors(office.add(Conversation, agent=theirs.pk, **typed))
    response = office.add(Conversation, agent=ours.pk, **typed)
    assert response.status_code == 302, errors(response)
    assert Conversation.objects.get(workspace=cast.alice.workspace).agent_id == ours.pk


def test_counters_typed_into_the_request_are_ignored(office: Office, cast: Cast) -> None:
    conversation = conversation_of(cast.alice)

    typed = {"message_count": "9", "total_cost": "9", "user": cast.bob.user.pk, "kind": "api"}
    assert office.save(conversation, title="Talk", **typed).status_code == 302
    stored = again(conversation)
    assert (stored.title, stored.message_count, stored.total_cost) == ("Talk", 0, 0)
    assert (stored.user_id, stored.kind) == (cast.alice.user.pk, "chat")
