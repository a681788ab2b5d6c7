"""OpenAI's own client against the service; left out where that is not installed (``make test-clients``)."""

import asyncio
from typing import Any

import pytest
from toys.services import serving

from piplay.agent import load_agent
from piplay.envs.world.store import default_world
from piplay.serving.app import make_app
from piplay.serving.questions import Questions

openai = pytest.importorskip("openai")
AT_ONCE = 32


async def replies(url: str, asked: list[str]) -> list[tuple[Any, ...]]:
    """Of each question what each API says, whole and streamed; all questions at once."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def completion(question: str) -> str:
            messages = [{"role": "user", "content": question}]
            made = await client.chat.completions.create(model="mine", messages=messages)
            assert made.choices[0].finish_reason in ("stop", "length")
            assert made.choices[0].message.tool_calls is None
            return made.choices[0].message.content

        async def streamed(question: str) -> str:
            messages = [{"role": "user", "content": question}]
            chunks = await client.chat.completions.create(model="mine", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

        async def response(question: str) -> tuple[str, list[list[str]]]:
            made = await client.responses.create(model="mine", input=question)
            return made.output_text, [item.queries for item in made.output if item.type == "file_search_call"]

        async def response_streamed(question: str) -> str:
            async with client.responses.stream(model="mine", input=question) as events:
                async for _ in events:
                    pass
                return (await events.get_final_response()).output_text

        ways = (completion, streamed, response, response_streamed)
        return [await asyncio.gather(*(way(question) for question in asked)) for way in ways]


def test_32_at_once_get_the_answers_of_ask() -> None:
    agent = load_agent("base", **{"engine.slots": AT_ONCE})
    asked = [question.question for question in default_world().heldout[::9]][:AT_ONCE]
    assert len(asked) == AT_ONCE
    alone = [agent.ask(question).to_dict() for question in asked]
    answers = [reply["answer"] for reply in alone]
    queries = [[[step["query"]] for step in reply["steps"] if step["query"] is not None] for reply in alone]
    with serving(make_app(Questions(agent, AT_ONCE), "mine")) as url:
        completions, streamed, responses, responses_streamed = asyncio.run(replies(url, asked))
    assert completions == streamed == responses_streamed == answers
    assert responses == list(zip(answers, queries, strict=True))


def test_errors_are_the_clients_own() -> None:
    agent = load_agent("base")
    with serving(make_app(Questions(agent, 1), "mine")) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert [model.id for model in client.models.list()] == ["mine"]
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
            client.responses.create(model="gpt", input="Who?")
        with pytest.raises(openai.BadRequestError, match="the question is empty"):
            client.responses.create(model="mine", input=" ")
