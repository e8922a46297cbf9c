"""Answering with a file, or with the part of it that was asked for (RFC 9110, section 14).

Players ask for parts of a video to seek in it, and some play nothing from a server that cannot.
"""

import re
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def file_response(
    request: HttpRequest, content: bytes | Path, *, content_type: str, version: str
) -> HttpResponse:
    """``content``, or one range of it; ``version`` changes whenever the content does.

    The files are a few megabytes at most, so they are read whole. FileNotFoundError if there is
    none.
    """
    etag = f'"{version}"'
    if etag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", "")):
        response = HttpResponse(status=304)
    else:
        whole = content if isinstance(content, bytes) else content.read_bytes()
        if_range = request.META.get("HTTP_IF_RANGE", etag)
        asked = request.META.get("HTTP_RANGE", "") if if_range == etag else ""
        response = _answer(whole, asked, content_type)
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    patch_cache_control(response, no_cache=True)
    return response


def _answer(whole: bytes, asked: str, content_type: str) -> HttpResponse:
    # Several ranges at once may be answered with the whole.
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not any(match.groups()):
        return HttpResponse(whole, content_type=content_type)
    first, last = match.groups()
    if first:
        begin = int(first)
        end = min(int(last) + 1, len(whole)) if last else len(whole)
        if last and int(last) < begin:
            return HttpResponse(whole, content_type=content_type)
    else:
        begin, end = max(len(whole) - int(last), 0), len(whole)
    if begin >= end:
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{len(whole)}"
        return response
    response = HttpResponse(whole[begin:end], status=206, content_type=content_type)
    response["Content-Range"] = f"bytes {begin}-{end - 1}/{len(whole)}"
    return response
