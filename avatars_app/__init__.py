"""Whose likeness is shown: avatars, how they are made, and who may do what.

models                    what avatars there are, API keys, webhooks that wait
services                  every write to their rows and folders
selectors                 reading them: which one a user sees, and where its folder is
views, serializers, urls  the REST API
legacy_views              the addresses of older clients
range_response            a file, or the part of it that was asked for
exceptions                what can be wrong with a request
permissions               who may change avatars
access                    tokens, keys, limits of their holders
body_limits               how large a body may be
upload_admission          which large bodies are read at all
uploads                   what was sent, on disk
asset_folders             prepared folders, put in place and removed
preparation_runner        runs queued preparations, each in a process
preparation_limits        what one of them may use of the machine
stage_times               how long its stages take
webhooks                  what happened, sent to the operator
admin, forms, checks      what staff see; what `manage.py check` says
apps, management          Django's parts
"""
