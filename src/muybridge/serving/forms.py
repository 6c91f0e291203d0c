"""Requests that come as JSON or as a form, with or without files; fields of objects stand in brackets in forms."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from muybridge.serving.errors import invalid

Body = TypeVar("Body", bound=BaseModel)


async def fields_of(request: Request) -> dict[str, Any]:
    """The fields of a request; `a[b]` of a form becomes {"a": {"b": …}}. Refusal (400) for what is neither."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            form = await request.form(max_files=8, max_fields=100)
            return _nested(list(form.multi_items()))
        content = json.loads(await request.body())
    except ClientDisconnect as error:
        raise invalid("the request was cut off") from error
    except (ValueError, RecursionError) as error:
        raise invalid("the body is neither JSON nor a form: send one of these") from error
    if not isinstance(content, dict):
        raise invalid('the body is no JSON object: send {"prompt": …}')
    return content


def checked(kind: type[Body], fields: dict[str, Any], files: str) -> Body:
    """The fields as they should be, `files` aside. Refusal (400), naming the first that is not."""
    plain = {name: value for name, value in fields.items() if name != files}
    if isinstance(plain.get("seconds"), int):  # many clients send the number
        plain["seconds"] = str(plain["seconds"])
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise invalid(f"{name}: {first['msg']}", name or None) from error


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """For the OpenAPI, which cannot know it: what a request looks like, as JSON and as a form."""
    schema = kind.model_json_schema()
    media = ("application/json", "multipart/form-data")
    return {"requestBody": {"required": True, "content": {name: {"schema": schema} for name in media}}}


def _nested(items: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in items:
        outer, bracket, inner = name.partition("[")
        if bracket and isinstance(fields.setdefault(outer, {}), dict):
            fields[outer][inner.rstrip("]")] = value
        elif not bracket:
            fields[name] = value
    return fields
