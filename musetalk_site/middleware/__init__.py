"""What happens to every request.

proxies           who is asking, where a proxy asks for them
trailing_slash    addresses with a slash at their end are those without
request_ids       an id for each, in its answer and in the log
static_files      WhiteNoise inside an asynchronous server
secure_cookies    cookies that came over HTTPS stay there
log_ins           few passwords are checked at a time
database_outages  pages while the database cannot be reached
"""
