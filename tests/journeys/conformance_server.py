"""The server that the public conformance suite asks: its tools, prompts and resources by the names that it expects.

Source: the scenarios of `@modelcontextprotocol/conformance` 0.1.16, which say of each what it has to answer.
"""

from __future__ import annotations

import base64
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

# A red pixel, and a WAV file without a sample.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = base64.b64encode(
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    b"data\x00\x00\x00\x00"
).decode()

server = MCPServer(name="conformance", version="1", log_level="CRITICAL")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


@server.tool(structured_output=False)
async def test_simple_text() -> str:
    """Answers with a text."""
    return "This is a simple text response for testing."


@server.tool(structured_output=False)
async def test_image_content() -> list[Any]:
    """Answers with a picture."""
    return [ImageContent(data=PNG, mime_type="image/png")]


@server.tool(structured_output=False)
async def test_audio_content() -> list[Any]:
    """Answers with a sound."""
    return [AudioContent(data=WAV, mime_type="audio/wav")]


@server.tool(structured_output=False)
async def test_embedded_resource() -> list[Any]:
    """Answers with a resource."""
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@server.tool(structured_output=False)
async def test_multiple_content_types() -> list[Any]:
    """Answers with a text, a picture and a resource."""
    return [
        TextContent(text="Multiple content types test:"),
        ImageContent(data=PNG, mime_type="image/png"),
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@server.tool(structured_output=False)
async def test_tool_with_progress(context: Context) -> str:
    """Says how far it is."""
    for done in (0, 50, 100):
        await context.report_progress(done, 100, f"Completed step {done} of 100")
    return "done"


@server.tool(structured_output=False)
async def test_error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """A picture."""
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """A text by its number."""
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt() -> str:
    """A text."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A text with what it is given."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:
    """A resource and a text."""
    return [
        UserMessage(embedded(resourceUri, "Embedded resource content for testing.")),
        UserMessage("Please process the embedded resource above."),
    ]


@server.prompt()
def test_prompt_with_image() -> list[Any]:
    """A picture and a text."""
    return [UserMessage(ImageContent(data=PNG, mime_type="image/png")), UserMessage("Please analyze the image above.")]


@server.completion()  # type: ignore[no-untyped-call,untyped-decorator]
async def complete(reference: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=["paris", "park", "party"], total=150, has_more=False)
