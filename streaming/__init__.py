"""The door: what speaks to clients.

Pure, from the wire inwards:

``client_messages``, ``server_messages``, ``protocol``   the messages, and their text
``session``     one connection, from its first message to its last; its head tells how it works
``requests``    what an open session may ask for
``link``        the session's worker: ``search`` for one, ``window`` of speech, ``interrupts``
``gate``, ``limits``, ``timers``, ``clips``, ``metrics``, ``effects``, ``errors``   its parts

And around it:

``routing``, ``origins``   which connections are let in
``consumer``               the adapter between a session, its WebSocket and the channel layers
``live``                   the connections of this process
``views``                  what can be asked over HTTP
``client``                 the client library, which shares nothing with the rest but the wire
"""
