"""The REST API.

views          avatars, and their preparation
legacy_views   the addresses of older clients
serializers    what requests hold and answers say
range_response a file, or the part of it that was asked for
"""
