"""The site: settings, entry points, and what serves the other packages' parts.

settings, environment      Django's settings; what each variable may hold
start_checks, checks       settings that cannot work; what `manage.py check` says
secret_key, version        the key that is made once; the version
asgi, urls                 the composition root of pages and streams; the pages' addresses
server                     HTTP and WebSocket: Daphne, with what long streams need
processes                  one machine, many processes
event_loop                 uvloop's, or asyncio's
watchdog                   ends a process whose loop hangs
process_end                the end of a process that ran native code
layers                     the two channel layers
redis_layers               … over Redis, made to outlive its loss
redis_availability         whether Redis can be reached
redis_leases               what holders have at a time, over all machines
redis_rates                what they did, over all machines
middleware                 what happens to every request
problems, openapi          errors of the API in one shape; its schema
telemetry                  metrics, probes, spans
logs                       lines for people, or JSON
admin                      failed log-ins, for staff
password_hashing           one password at a time
install                    makes `.venv`, before anything of ours can be imported
engine_requirements        what `make run` installs
apps, formats, management  Django's parts
"""
