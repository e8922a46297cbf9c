"""The HTTP and WebSocket server: Daphne, with what long streams need.

Importing the package installs Twisted's reactor, so that none of its modules meets another one.
"""

from musetalk_site import event_loop

event_loop.install_reactor()
