"""What went wrong with a model, as one line for people. Imported with the first run, since it needs pydantic-ai."""

from __future__ import annotations

import json
from contextlib import suppress

from pydantic_ai import exceptions as ai

from gateway.outbound import error_line

_TOO_LONG = ("context", "too long", "too many tokens", "token limit", "n_ctx")
_CHARACTERS = 200


def is_refused_key(error: BaseException) -> bool:
    return isinstance(error, ai.ModelAuthenticationError)


def sentence(error: BaseException) -> str:
    """Why there is no answer, with what to do where it is known."""
    said = _said(error)
    match error:
        case ai.ModelContextWindowExceededError():
            return f"the conversation is too long for this model; shorten the input or begin a new session ({said})"
        case ai.ModelQuotaExceededError():
            return f"the account's quota is used up ({said})"
        case ai.ModelRateLimitError(retry_after=None):
            return f"too many requests (429); ask again later ({said})"
        case ai.ModelRateLimitError(retry_after=seconds):
            return f"too many requests (429); ask again in {seconds:.0f} s ({said})"
        case ai.ModelNotFoundError():
            return f"the provider does not have this model ({said})"
        case ai.ModelHTTPError(status_code=status) if status in (400, 413, 422) and _is_too_long(said):
            return f"the conversation is too long for this model; shorten the input or begin a new session ({said})"
        case ai.ModelHTTPError(status_code=status):
            return f"answered {status} ({said})"
        case ai.ModelConnectionError():
            return f"does not answer ({said})"
        case ai.IncompleteToolCall() | ai.OutputTokenLimitExceeded():
            return "the answer was cut off at the model's limit of tokens"
        case ai.ContentFilterError():
            return "the provider's filter held the answer back"
        case ai.UnexpectedModelBehavior():
            return f"gave no usable answer ({said})"
        case ai.ModelAPIError():
            return f"the request failed ({said})"
        case _:
            return f"answered what is none of its API ({type(error).__name__}: {said})"


def _is_too_long(said: str) -> bool:
    return any(words in said.lower() for words in _TOO_LONG)


def _said(error: BaseException) -> str:
    # {"error": {"message": …}}, {"message": …}, {"error": "…"}
    body = getattr(error, "body", None)
    if isinstance(body, str):
        with suppress(ValueError):
            body = json.loads(body)
    for _ in range(2):
        if isinstance(body, dict):
            body = body.get("error", body.get("message", body))
    if isinstance(body, str | dict) and body:
        return " ".join(str(body).split())[:_CHARACTERS]
    if isinstance(error, ai.ModelHTTPError):
        return "without a reason"
    return error_line(error)
