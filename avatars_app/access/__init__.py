"""Who may do what, where AUTH is on.

principal       who a caller is and what that allows; pure
jwt_tokens      signed tokens: those of an identity provider, and short-lived ones of our own
api_keys        keys of back ends, kept as digests
authentication  a credential becomes a principal: for streams and for the REST API
rates           how often holders did something
holder_limits   what one holder may do at most, by the settings
views           POST /tokens
"""
