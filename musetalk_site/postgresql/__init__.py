"""PostgreSQL: Django's backend, whose calls end.

base         the backend, as Django looks for it
connections  psycopg's connections, with a deadline for each call
"""
