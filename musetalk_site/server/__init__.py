"""The HTTP and WebSocket server: Daphne, with what long streams need.

app            one serving process, put together
reactor        Twisted's reactor: on uvloop, and told of resets
daphne_server  Daphne for streams that last for hours
websocket      one connection, which tells whether its client keeps up
backpressure   neither side piles up what the other cannot take
prompt_writes  writes to a socket that has room at once
request_body   bodies on disk, and those that are refused
slow_requests  closes connections whose requests come too slowly
handover       a connection leaves for another process, or comes from one

Importing the package installs Twisted's reactor, so that none of its modules meets another one.
"""

from musetalk_site.server import reactor

reactor.install()
