"""A plain functions-framework function, without thinbridge's SDK: an event is headers and a body like any other."""

import flask
import functions_framework


@functions_framework.http
def plain_http(request: flask.Request) -> dict[str, str]:
    return {
        "type": request.headers.get("ce-type", "no event"),
        "subject": request.headers.get("ce-subject", ""),
    }
