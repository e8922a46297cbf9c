"""Whose likeness is shown: avatars, how they are made, and who may do what.

models                    what avatars there are, API keys, webhooks that wait
services                  every write to their rows and folders
selectors                 reading them: which one a user sees, and where its folder is
api, urls                 the REST API
exceptions                what can be wrong with a request
database                  whether it can be used
permissions               who may change avatars
access                    tokens, keys, limits of their holders
uploads                   what was sent: which of it is read, and where it is
asset_folders             prepared folders, put in place and removed
preparation               runs queued preparations, each in a process
webhooks                  what happened, sent to the operator
admin, forms, checks      what staff see; what `manage.py check` says
apps, management          Django's parts
"""
