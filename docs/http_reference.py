"""docs/api.md: the OpenAPI document as a page that needs no server to be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from app.api.scopes import NEEDS
from docs.schema_words import PAGE_OF, Schema, cell, default_words, name_of, slug, type_words

INTRODUCTION = """\
# HTTP API

Every route, with its parameters, its body and its answer. Made by `make docs` from the OpenAPI document
([openapi.json](openapi.json)); a running Loupe shows the same at `/docs`, where you can try it.

Bodies and answers are JSON unless a route says otherwise. An error is a [Problem](#problem) (RFC 9457), with
a `code` for programs and a `hint` for people. A list has at most `limit` entries, and `next_cursor` leads to
the next page: give it as `after`. Where the server asks for a key, send it as `Authorization: Bearer KEY`;
[Access](access.md) explains the scopes that each route names here.
"""


def http_reference(document: dict[str, Any]) -> str:
    """The page, from the OpenAPI document."""
    by_tag: dict[str, list[tuple[str, str, Schema]]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag[operation["tags"][0]].append((method.upper(), path, operation))
    lines = [INTRODUCTION, *_contents(by_tag)]
    for tag, routes in by_tag.items():
        lines += [f"## {_title(tag)}", ""]
        for method, path, operation in routes:
            lines += _route(method, path, operation)
    lines += ["## Bodies and answers", ""]
    schemas = document["components"]["schemas"]
    for name in sorted(schemas, key=lambda name: name_of(name).lower()):
        if name not in PAGE_OF:
            lines += _schema(name_of(name), schemas[name])
    return "\n".join(lines).rstrip() + "\n"


def _title(tag: str) -> str:
    return tag[0].upper() + tag[1:]


def _contents(by_tag: dict[str, list[tuple[str, str, Schema]]]) -> Iterator[str]:
    yield "| group | routes |"
    yield "|---|---|"
    for tag, routes in by_tag.items():
        links = ", ".join(f"[`{method} {path}`](#{slug(f'{method} {path}')})" for method, path, _ in routes)
        yield f"| [{_title(tag)}](#{slug(tag)}) | {links} |"
    yield ""


def _route(method: str, path: str, operation: Schema) -> list[str]:
    lines = [f"### {method} {path}", "", operation["description"].strip(), "", _scope(method, path), ""]
    # An id in the path that needs no word: the path names it.
    parameters = [
        each for each in operation.get("parameters", []) if each["in"] != "path" or each.get("description")
    ]
    if parameters:
        lines += ["| parameter | in | type | default | what it is |", "|---|---|---|---|---|"]
        for each in parameters:
            default = default_words(each["schema"], is_required=each.get("required", False))
            says = _about(each["schema"]) or each.get("description", "")
            type_ = cell(type_words(each["schema"]))
            lines.append(f"| `{each['name']}` | {each['in']} | {type_} | {default} | {cell(says)} |")
        lines.append("")
    lines += _bodies(operation.get("requestBody", {}).get("content", {}))
    for status, answer in operation["responses"].items():
        if status != "default":
            lines += [_answer(status, answer), ""]
    return lines


def _bodies(contents: Mapping[str, Schema]) -> list[str]:
    """What may be sent; kinds of content that take the same stand together."""
    lines: list[str] = []
    alike: dict[str, list[str]] = defaultdict(list)
    for media_type, content in contents.items():
        schema = content.get("schema", {})
        if "properties" in schema:
            lines += [f"Body, `{media_type}`:", "", *_fields(schema)]
        else:
            alike[type_words(schema)].append(f"`{media_type}`")
    for words, media_types in alike.items():
        lines += [f"Body, {', '.join(media_types)}: {words}.", ""]
    return lines


def _about(schema: Schema) -> str:
    """The description of the schema, or of the alternative of it that has one."""
    found = [each["description"] for each in schema.get("anyOf", []) if "description" in each]
    return str(schema.get("description") or (found[0] if found else ""))


def _scope(method: str, path: str) -> str:
    need = NEEDS[method, path]
    if need is None:
        return "Scope: none, it is open."
    rest = ", with a key that is bound to no product" if need.is_unbound else ""
    return f"Scope: {f'`{need.scope}`' if need.scope else 'any'}{rest}."


def _answer(status: str, answer: Schema) -> str:
    bodies = [
        f"{type_words(content['schema'])}{'' if media_type == 'application/json' else f' (`{media_type}`)'}"
        for media_type, content in answer.get("content", {}).items()
        if content.get("schema")
    ] or [f"`{media_type}`" for media_type in answer.get("content", {})]
    return f"Answer {status}: {' or '.join(bodies) if bodies else 'no body'}."


def _schema(name: str, schema: Schema) -> list[str]:
    lines = [f"### {name}", ""]
    if says := schema.get("description"):
        lines += [says.strip(), ""]
    if "properties" not in schema:
        return [*lines, f"{type_words(schema)}", ""]
    return lines + _fields(schema)


def _fields(schema: Schema) -> list[str]:
    required = set(schema.get("required", ()))
    lines = ["| field | type | default | what it is |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = default_words(field, is_required=name in required)
        lines.append(f"| `{name}` | {cell(type_words(field))} | {default} | {cell(_about(field))} |")
    return [*lines, ""]
