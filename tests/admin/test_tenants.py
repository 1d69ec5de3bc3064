"""Rows of a tenant stay in their workspace and point only at rows of it."""

from __future__ import annotations

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
