"""The site: settings, entry points, and what serves the other packages' parts.

settings, version          Django's settings; the version
configuration              what each variable may hold, and settings that cannot work
asgi, urls                 the composition root of pages and streams; the pages' addresses
server                     HTTP and WebSocket: Daphne, with what long streams need
processes                  one machine, many processes
listening                  why a port cannot be listened on
event_loop                 uvloop's, or asyncio's
watchdog                   ends a process whose loop hangs
interrupts                 Ctrl-C, and a terminal that is closed
process_end                the end of a process that ran native code
layers                     the two channel layers
redis                      what processes on several machines share
postgresql                 the database's backend, whose calls end
middleware                 what happens to every request
json_parser                bodies in JSON, however deep they are nested
problems, openapi, redoc   errors of the API in one shape; its schema; a page that shows it
telemetry                  metrics, probes, spans
logs                       lines for people, or JSON
admin                      failed log-ins, for staff
password_hashing           one password at a time
install                    makes `.venv`, before anything of ours can be imported
engine_requirements        what `make run` installs
apps, formats, management  Django's parts
"""
