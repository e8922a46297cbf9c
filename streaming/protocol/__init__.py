"""What goes over the wire; pure.

address          the stream's path
client_messages  what a client may send
server_messages  what the server sends
codec            text to message and back
binary           frames and speech as binary messages
forms            the form of a message as one sentence, for errors
errors           what can go wrong
closing          how the server ends a connection
examples         an example of every message
asyncapi         the AsyncAPI document
"""
