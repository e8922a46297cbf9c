"""What an operator may set.

environment  what each variable may hold
secret_key   the key that is made once
start_checks settings that cannot work: a command does not begin
checks       what `manage.py check` says
"""
