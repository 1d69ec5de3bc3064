"""A request in the words of Google's Gemini API."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from llm.providers import reasoning
from llm.providers.answer import LOCAL_ID
from llm.providers.base import json_object
from llm.types import CallRequest, ChatMessage, Image, TextPart

if TYPE_CHECKING:
    from google.genai import types

UNSIGNED = ("gemini-1", "gemini-2")
"""Newer models refuse a turn that begins with a call without its signature."""
NO_SIGNATURE = b"skip_thought_signature_validator"
"""What stands for a signature where there is none, because the client lost it or another vendor's model made the call.
https://ai.google.dev/gemini-api/docs/thought-signatures"""


def arguments(request: CallRequest) -> dict[str, Any]:
    """Arguments of ``models.generate_content``."""
    from google.genai import types

    config: dict[str, Any] = {
        "max_output_tokens": request.max_tokens,
        # Both would make further calls behind our back, beyond the max_tokens that bounds the bill.
        "automatic_continuation": False,
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
    }
    if request.system:
        config["system_instruction"] = request.system
    if request.stop:
        config["stop_sequences"] = list(request.stop)
    if request.tools:
        config["tools"] = [_tool(request)]
        if request.tool_choice:
            mode = {"auto": "AUTO", "none": "NONE"}.get(request.tool_choice, "ANY")
            names = None if request.tool_choice in ("auto", "none", "required") else [request.tool_choice]
            config["tool_config"] = types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode(mode), allowed_function_names=names
                )
            )
    if request.response_schema is not None:
        config["response_mime_type"] = "application/json"
        config["response_json_schema"] = request.response_schema
    elif request.json_object:
        config["response_mime_type"] = "application/json"
    if thinking := reasoning.for_google(request):
        config["thinking_config"] = types.ThinkingConfig(**thinking)
    return {
        "model": request.model,
        "contents": _contents(request),
        "config": types.GenerateContentConfig(**config),
    }


def count_arguments(request: CallRequest) -> dict[str, Any]:
    """Arguments of ``models.count_tokens``. The SDK lets this API count contents alone; the system prompt and the tools
    are counted where the whole request is given in its place: https://ai.google.dev/api/tokens."""
    from google.genai import types

    model = request.model if "/" in request.model else f"models/{request.model}"
    counted: dict[str, Any] = {"model": model, "contents": [_plain(content) for content in _contents(request)]}
    if request.system:
        counted["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        counted["tools"] = [_plain(_tool(request))]
    options = types.HttpOptions(extra_body={"contents": [], "generateContentRequest": counted})
    return {"model": request.model, "contents": "-", "config": types.CountTokensConfig(http_options=options)}


def _plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _tool(request: CallRequest) -> types.Tool:
    from google.genai import types

    declarations = [
        types.FunctionDeclaration(
            name=tool["name"],
            description=tool.get("description"),
            parameters_json_schema=tool.get("parameters") or {"type": "object", "properties": {}},
        )
        for tool in request.tools
    ]
    return types.Tool(function_declarations=declarations)


def _contents(request: CallRequest) -> list[types.Content]:
    """The conversation; turns of one role are merged, since the results of parallel calls must come together, and before
    everything else."""
    from google.genai import types

    names: dict[str, str] = {}
    contents: list[types.Content] = []
    is_signed = request.model.startswith("gemini-") and not request.model.startswith(UNSIGNED)
    for message in request.messages:
        role = "model" if message.role == "assistant" else "user"
        if message.role == "tool":
            # A result is matched by the function's name, which only the call knows.
            name = names.get(message.tool_call_id, message.tool_call_id)
            parts = [_result(message, name), *(_part(image) for image in message.images)]
        else:
            parts = [_part(part) for part in message.ordered]
        for index, call in enumerate(message.tool_calls):
            names[call.id] = call.name
            function_call = types.FunctionCall(id=_vendor_id(call.id), name=call.name, args=json_object(call.arguments))
            # Of calls made at once, the first alone is signed.
            signature = _signature(call.signature) or (NO_SIGNATURE if is_signed and index == 0 else None)
            parts.append(types.Part(function_call=function_call, thought_signature=signature))
        if not parts:
            continue
        if contents and contents[-1].role == role:
            contents[-1].parts = [*(contents[-1].parts or []), *parts]
        else:
            contents.append(types.Content(role=role, parts=parts))
    for content in contents:
        content.parts = sorted(content.parts or [], key=lambda part: part.function_response is None)
    return contents


def _part(part: TextPart | Image) -> types.Part:
    from google.genai import types

    if isinstance(part, Image):
        return types.Part(inline_data=types.Blob(mime_type=part.media_type, data=part.data))
    return types.Part(text=part.text)


def _result(message: ChatMessage, name: str) -> types.Part:
    from google.genai import types

    return types.Part(
        function_response=types.FunctionResponse(
            id=_vendor_id(message.tool_call_id),
            name=name,
            response={"error" if message.is_error else "result": message.content},
        )
    )


def _vendor_id(call_id: str) -> str | None:
    return None if not call_id or call_id.startswith(LOCAL_ID) else call_id


def _signature(signature: str) -> bytes | None:
    try:
        return base64.b64decode(signature, validate=True) or None
    except binascii.Error:
        return None
