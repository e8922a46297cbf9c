"""What clients connect to: the stream, its pages and its history.

protocol    what goes over the wire; pure
session     the rules of one connection: messages in, effects out; pure
gateway     the I/O edge: consumer, routing, origins, the connections of this process
history     what is recorded of sessions, and for how long
web         pages, /health, /sessions, the reference of messages
admin       what staff see
models, urls, apps, management   Django's parts
"""
