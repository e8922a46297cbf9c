"""One machine, many processes, without Redis.

messages    what a process and its supervisor tell each other
control     the socket that carries it, file descriptors included
placement   which process takes a new connection, which one owns a session; pure
transfers   connections that were sent to a process and that it has not answered yet
speech      how much speech of each subject waits in which process; pure
supervisor  has the processes started, and started again; places connections
fork_server forks them from one that has imported what they need
app_process a process's end of the control socket
app_options what a process does
"""
