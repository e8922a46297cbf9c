"""Webhooks: what happened, sent to an address of the operator's.

events   what is sent, and the rows that wait to be sent
targets  to which addresses something may be sent
delivery one request, signed
sender   sends what waits, with retries
"""
